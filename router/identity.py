"""Who a caller is and what it may do, as a value."""

from dataclasses import dataclass, field

RIGHTS = ("pin_model", "pin_fleet", "fastest", "best")


@dataclass(frozen=True, slots=True)
class Key:
    """An identity and its rights. `lanes`, `models` None: all; `allowed_tags` are those that a
    request may add (`*`: any); `expires` is RFC 3339 in UTC.
    """

    id: str
    tenant: str
    team: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    allowed_tags: tuple[str, ...] = ()
    lanes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    may: tuple[str, ...] = ("pin_model",)
    expires: str | None = None
    admin: bool = False


NOBODY = Key(
    id="none", tenant="local", allowed_tags=("*",), may=RIGHTS, admin=True
)  # `--auth none`, loopback only
