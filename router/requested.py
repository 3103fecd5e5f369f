"""What a caller may write as `model`, and as tags. Pure."""

from collections.abc import Iterable

from backends.catalogue import Catalogue
from router.errors import Refusal
from router.identity import Key

AUTO = ("auto", "auto:cheapest", "auto:fastest", "auto:best")


def known_models(key: Key, catalogue: Catalogue) -> list[str]:
    """Return every name that this key may send as `model`."""
    names = [name for name in AUTO if _may(key, name)]
    fleets = [
        fleet
        for fleet in catalogue.fleets
        if (key.lanes is None or fleet.lane in key.lanes)
        and (key.models is None or fleet.model.id in key.models)
    ]
    if "pin_model" in key.may:
        names += dict.fromkeys(fleet.model.id for fleet in fleets)
    if "pin_fleet" in key.may:
        names += [f"{fleet.model.id}@{fleet.id}" for fleet in fleets]
    return names


def _may(key: Key, name: str) -> bool:
    right = name.partition(":")[2]
    return right not in ("fastest", "best") or right in key.may


def check_model(name: str, key: Key, catalogue: Catalogue) -> None:
    """Refuse a name that doesn't exist (404); one that exists is the policy's to judge."""
    if name in AUTO:
        return
    model, at, fleet_id = name.partition("@")
    if not at and model in catalogue.models:
        return
    fleet = catalogue.fleet(fleet_id)
    if at and fleet is not None and fleet.model.id == model:
        return
    known = ", ".join(known_models(key, catalogue))
    raise Refusal(404, f"unknown model (known: {known})", "model_not_found", "model")


def check_tags(tags: Iterable[str] | None, key: Key) -> None:
    """Refuse a tag that the key may not set (403)."""
    for name in () if "*" in key.allowed_tags else tags or ():
        if name not in key.allowed_tags and name not in key.tags:
            allowed = ", ".join(key.allowed_tags) or "none"
            said = f"this key may not set that tag (allowed: {allowed})"
            raise Refusal(403, said, "key_not_allowed", "x-sluice-tags")
