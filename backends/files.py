"""The packaged reference files, read where they are installed, and the user's files beside them."""

import codecs
from importlib import resources
from pathlib import Path

from backends import parse, router_cost
from backends.catalogue import Catalogue
from backends.library import Library
from backends.parse import Source
from backends.router_cost import LOCAL, RouterCost
from yamlfile import Invalid, Problem

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # how its files begin, as those of PowerShell


def packaged(package: str, *path: str) -> Source:
    """Return a packaged file under the name users know it by (``backends/data/fleets.yaml``)."""
    place = resources.files(package).joinpath(*path)
    return Source("/".join((package.replace(".", "/"), *path)), place.read_text("utf-8"))


def on_disk(path: Path) -> Source:
    """Return a file's text; raise OSError, or yamlfile.Invalid if it is not UTF-8."""
    try:
        return Source(str(path), path.read_text("utf-8"))
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        said = f"not UTF-8: {exc.reason} at byte {exc.start}"
        if exc.object.startswith(UTF_16):
            line, said = 1, "not UTF-8 but UTF-16: save it as UTF-8"
        raise Invalid([Problem(f"{path}:{line}", said)]) from None


def library(state: Path | None = None) -> Library:
    """Return the packaged profiles, quality tables and prices, and the user's under the state."""
    folder = resources.files("backends").joinpath("data", "profiles")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    own = state / "profiles" if state is not None else None
    prices = own_prices(state) if state is not None else None
    return parse.library(
        [
            *(packaged("backends", "data", "profiles", name) for name in names),
            *(on_disk(path) for path in (sorted(own.glob("*.yaml")) if own else ())),
        ],
        packaged("backends", "data", "quality.yaml"),
        packaged("backends", "data", "prices.yaml"),
        on_disk(prices) if prices is not None and prices.exists() else None,
    )


def own_prices(state: Path) -> Path:
    """Return where the user's prices are, which go before the packaged ones."""
    return state / "prices.yaml"


def embedded_fleets() -> Source:
    return packaged("backends", "data", "fleets.yaml")


def router(place: str, memory_gb: float | None = None) -> RouterCost:
    """Return what the router costs where it runs; raise yamlfile.Invalid for an unknown place."""
    source = packaged("backends", "data", "router.yaml")
    return router_cost.read(source.text, source.name, place, memory_gb)


def router_places() -> list[str]:
    """Return where a router may run, as far as what it costs there is known."""
    source = packaged("backends", "data", "router.yaml")
    return router_cost.places(source.text, source.name)


def catalogue(
    path: Path | None,
    state: Path | None = None,
    place: str = LOCAL.place,
    memory_gb: float | None = None,
) -> Catalogue:
    """Return the fleets of this file, or the embedded ones, for a router that runs in `place`, with
    that much memory.
    """
    source = on_disk(path) if path else embedded_fleets()
    return parse.catalogue(source, library(state), router(place, memory_gb))
