"""The containers of engines, as ``data/images.yaml`` says. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yamlfile

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True}
_DATE = {"type": "string", "format": "date", "description": "a date (YYYY-MM-DD)"}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:  # noqa: ANN401  (a schema)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


_IMAGE = {
    "type": "string",
    "pattern": r"^[a-z0-9./-]+:[A-Za-z0-9._-]+$",
    "description": "a repository and a tag",
}
_ROW = {
    **_object(
        ["engine", "source", "as_of"],
        engine=_TEXT,
        instances=_TEXTS,
        image=_IMAGE,
        copied=_IMAGE,
        before=_TEXTS,
        note=_TEXT,
        source=_TEXT,
        as_of=_DATE,
    ),
    "oneOf": [{"required": ["image"]}, {"required": ["copied"]}],
}
_ACCOUNT = _object(
    ["account", "regions"],
    account={"type": "string", "pattern": r"^\d{12}$", "description": "12 digits in quotes"},
    regions=_TEXTS,
)
_FORM: Final[Mapping[str, Any]] = _object(
    ["version", "registries", "images"],
    version={"const": 1, "description": "1, the only version of this form"},
    registries=_object(
        ["source", "as_of", "accounts"],
        source=_TEXT,
        as_of=_DATE,
        accounts={"type": "array", "items": _ACCOUNT, "minItems": 1},
    ),
    images={"type": "array", "items": _ROW, "minItems": 1},
)


@dataclass(frozen=True, slots=True)
class Row:
    """`image`: in the registries of AWS Deep Learning Containers; `copied`: in a public one. One
    of them is None. `before`: what the container starts with before the engine's arguments.
    """

    engine: str
    instances: tuple[str, ...]
    image: str | None
    copied: str | None
    before: tuple[str, ...]
    note: str | None
    source: str
    as_of: str


@dataclass(frozen=True, slots=True)
class Images:
    """`accounts`: by region, whose registry has AWS Deep Learning Containers."""

    accounts: Mapping[str, str]
    rows: tuple[Row, ...]

    def row(self, engine: str, instance: str) -> Row | None:
        """Return the engine's container on this EC2 type; None: there is none to be had."""
        fits = (row for row in self.rows if row.engine == engine)
        return next((row for row in fits if not row.instances or instance in row.instances), None)


def read(text: str, name: str) -> Images:
    """Return what the file says; raise yamlfile.Invalid."""
    document = yamlfile.read(text, name, _FORM)
    accounts: dict[str, str] = {}
    twice = []
    for i, row in enumerate(document.value["registries"]["accounts"]):
        for region in row["regions"]:
            if region in accounts:
                at = ("registries", "accounts", i, "regions")
                twice.append((at, f"region `{region}` stands here twice"))
            accounts[region] = row["account"]
    if twice:
        raise document.invalid(twice)
    rows = (
        Row(
            row["engine"],
            tuple(row.get("instances", ())),
            row.get("image"),
            row.get("copied"),
            tuple(row.get("before", ())),
            row.get("note"),
            row["source"],
            row["as_of"],
        )
        for row in document.value["images"]
    )
    return Images(accounts, tuple(rows))
