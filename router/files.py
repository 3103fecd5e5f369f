"""The packaged files, read where they are installed, and the user's files in their place."""

from importlib import resources
from pathlib import Path

from backends import parse
from backends.catalogue import Catalogue
from backends.parse import Library, Source

PACKAGED_FLEETS = "fleets.yaml"
PACKAGED_POLICY = "default.yaml"


def packaged(package: str, *path: str) -> Source:
    """Return a packaged file under the name users know it by (``backends/data/fleets.yaml``)."""
    place = resources.files(package).joinpath(*path)
    return Source("/".join((package.replace(".", "/"), *path)), place.read_text("utf-8"))


def on_disk(path: Path) -> Source:
    return Source(str(path), path.read_text("utf-8"))


def library(state: Path | None = None) -> Library:
    """Return the packaged profiles, quality tables and prices, and the profiles under the state."""
    folder = resources.files("backends").joinpath("data", "profiles")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    profiles = [packaged("backends", "data", "profiles", name) for name in names]
    own = state / "profiles" if state is not None else None
    if own is not None and own.is_dir():
        profiles += [on_disk(path) for path in sorted(own.glob("*.yaml"))]
    return parse.library(
        profiles,
        packaged("backends", "data", "quality.yaml"),
        packaged("backends", "data", "prices.yaml"),
    )


def catalogue(path: Path | None, state: Path | None = None) -> Catalogue:
    """Return the fleets of this file, or the embedded ones."""
    source = on_disk(path) if path else packaged("backends", "data", PACKAGED_FLEETS)
    return parse.catalogue(source, library(state))
