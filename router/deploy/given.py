"""One stage of deploy.yaml as it is written, with what its checks ask of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yamlfile import Document, Fault


@dataclass(frozen=True, slots=True)
class Given:
    """`row`: the stage's values, whose form is right. `folder`: what its paths are relative to."""

    document: Document
    name: str
    row: Mapping[str, Any]
    folder: Path

    @property
    def account(self) -> str:
        return str(self.row["account"])

    @property
    def region(self) -> str:
        return str(self.row["region"])

    @property
    def partition(self) -> str:
        return str(self.row.get("partition", "aws"))

    @property
    def prod(self) -> bool:
        return bool(self.row["size"] == "prod")

    @property
    def fargate(self) -> bool:
        return bool(self.row.get("router", {}).get("on") == "fargate")

    @property
    def modes(self) -> tuple[str, ...]:
        return tuple(self.row.get("auth", {}).get("modes", ("keys",)))

    def path(self, *keys: str) -> Path | None:
        """Return the file that stands at these keys, or None."""
        value: Any = self.row
        for key in keys:
            value = value.get(key, {})
        return self.folder / value if value else None

    def fault(self, *path: str | int, said: str) -> Fault:
        """Return what is wrong at this place of the stage."""
        return ("stages", self.name, *path), f"stage {self.name}: {said}"
