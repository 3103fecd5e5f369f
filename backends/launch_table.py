"""Rows of ``data/launch.yaml``: what a launch needs for one engine, model or machine. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yamlfile
from backends import hardware_forms
from backends.memory import Fit


@dataclass(frozen=True, slots=True)
class Extra:
    """A flag that is added or replaced; `value` None: it stands alone."""

    flag: str
    value: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Row:
    """An empty condition fits everything."""

    engine: str
    source: str
    models: frozenset[str]
    instances: frozenset[str]
    quantisations: frozenset[str]
    context_above: int
    extras: tuple[Extra, ...]
    unset: frozenset[str]
    checkpoint: str | None
    note: str | None

    def fits(self, found: Fit) -> bool:
        asked = (
            (self.models, found.model.id),
            (self.instances, found.instance.id),
            (self.quantisations, found.ask.quantisation.id),
        )
        return (
            self.engine == found.instance.family.engine
            and all(not names or name in names for names, name in asked)
            and found.ask.context_tokens > self.context_above
        )


def read(text: str, name: str) -> tuple[Row, ...]:
    """Return the rows; raise yamlfile.Invalid with every mistake of the file."""
    document = yamlfile.read(text, name, hardware_forms.LAUNCH)
    return tuple(map(_row, document.value["rows"]))


def _row(row: Mapping[str, Any]) -> Row:
    return Row(
        engine=row["engine"],
        source=f"{row['source']} ({row['as_of']})",
        models=frozenset(row.get("models", ())),
        instances=frozenset(row.get("instances", ())),
        quantisations=frozenset(row.get("quantisations", ())),
        context_above=row.get("context_above", 0),
        extras=tuple(
            Extra(each["flag"], each.get("value"), each["why"]) for each in row.get("set", ())
        ),
        unset=frozenset(row.get("unset", ())),
        checkpoint=row.get("checkpoint"),
        note=row.get("note"),
    )
