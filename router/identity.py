"""Who a caller is and what it may do, as a value."""

from dataclasses import dataclass, field

from policies.model import RATES

RIGHTS = ("pin_model", "pin_fleet", "fastest", "best")
CONTEXT = b"x-amzn-request-context"  # who AWS let in, as the Lambda Web Adapter says it
LONGEST_NAME = 100  # characters: it stands in every receipt
VALID_NAME = f"1 to {LONGEST_NAME} printable characters, no `*`, no blank at either end"

LIMITS = RATES  # of a key, each may be None


@dataclass(frozen=True, slots=True)
class Key:
    """An identity and its rights. `lanes`, `models` None: all; `allowed_tags` are those that a
    request may add (`*`: any); `expires` is RFC 3339 in UTC; a limit that is None doesn't bind.
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
    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    concurrent: int | None = None


NOBODY = Key(
    id="none", tenant="local", allowed_tags=("*",), may=RIGHTS, admin=True
)  # `--auth none`, loopback only


def is_name(text: str) -> bool:
    """Tell whether a policy can mean this name and a line of a log can hold it."""
    plain = bool(text) and text == text.strip() and text.isprintable()
    return plain and len(text) <= LONGEST_NAME and "*" not in text
