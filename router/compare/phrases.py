"""Values of a compiled policy as a person reads them, each with its unit."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from router.compare.walk import ABSENT, Path

NONE: Mapping[str, str] = MappingProxyType(
    {
        "residency": "anywhere",
        "thinking": "as the caller asks",
        "relax": "nothing",
        "match": "anybody",
    }
)


def shown(path: Path, value: Any) -> str:  # noqa: ANN401  (any JSON)
    """Return a value of the key at this path."""
    name = path[-1] if path else ""
    if value is ABSENT:
        return "left out"
    if value in (None, [], {}):
        return NONE.get(name, "none")
    return _OWN[name](value) if name in _OWN else _plain(path, name, value)


def _plain(path: Path, name: str, value: Any) -> str:  # noqa: ANN401  (any JSON)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(name, value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown((*path, key), found)}" for key, found in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(path, found) for found in value)
    return str(value)


def changed(path: Path, old: Any, new: Any) -> str:  # noqa: ANN401  (any JSON)
    """Return what became of the key at this path: its name, the old value -> the new one."""
    name = ".".join(path)
    if old is ABSENT:
        return f"{name}: added, {shown(path, new)}"
    if new is ABSENT:
        return f"{name}: removed, was {shown(path, old)}"
    if _of_texts(old) and _of_texts(new) and not _ORDERED & {*path}:
        return f"{name}: {_plus_and_minus(old, new)}"
    return f"{name}: {shown(path, old)} -> {shown(path, new)}"


def conditions(when: Mapping[str, Any]) -> str:
    """Return whom a rule is for."""
    if not when:
        return "for every request"
    asked = [_condition(name, wanted) for name, wanted in when.items()]
    return f"when {' and '.join(asked)}"


def used(groups: Sequence[Sequence[str]]) -> str:
    """Return which lanes serve, in their order."""
    return ", then ".join(" or ".join(group) for group in groups)


def sentence_of(names: Sequence[str], most: int = 8) -> str:
    """Return names in backticks, and how many more there are."""
    listed = ", ".join(f"`{name}`" for name in names[:most])
    return listed + (f" and {len(names) - most} more" if len(names) > most else "")


_ORDERED = {"relax", "use"}  # lists whose order means something


def _of_texts(value: Any) -> bool:  # noqa: ANN401  (any JSON)
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _plus_and_minus(old: Sequence[str], new: Sequence[str]) -> str:
    more = [f"+ {value}" for value in new if value not in old]
    less = [f"- {value}" for value in old if value not in new]
    return ", ".join([*more, *less]) or f"{', '.join(old)} -> {', '.join(new)}"


def _condition(name: str, wanted: Any) -> str:  # noqa: ANN401  (any JSON)
    if name == "tags":
        return " and ".join(f"tag {tag} is {' or '.join(v)}" for tag, v in wanted.items())
    if _of_texts(wanted):
        verb = "needs" if name == "needs" else f"{name} is"
        return f"{verb} {' or '.join(wanted)}"
    return f"{name} is {shown((name,), wanted)}"


def _number(name: str, value: float) -> str:
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.12g}"
    if name.endswith("_ms") or name == "after":  # of a hedge
        return f"{text} ms"
    if name == "usd" or name.endswith("_usd"):
        return f"${text}"
    return text


def _floor(value: Any) -> str:  # noqa: ANN401  (a number, or a mapping)
    if isinstance(value, Mapping):
        return f"{value['at_least']:.12g} proved with confidence {value['confidence']:.12g}"
    return f"{value:.12g}"


def _time(value: Mapping[str, str]) -> str:
    rest = {key: found for key, found in value.items() if key not in {"from", "to", "tz"}}
    more = f" ({rest})" if rest else ""
    return f"{value['from']} to {value['to']} {value['tz']}{more}"


def _shares(value: Sequence[float]) -> str:
    return ", ".join(f"{share:.12g}" for share in value)


_OWN: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {"quality_floor": _floor, "local_time": _time, "use": used, "alert_at": _shares}
)
