"""Where two compiled values differ, leaf by leaf: the form is walked, so that no key is forgotten.

A list whose entries all have an `id` is compared by id (``pairs``), not by place, and not here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Path = tuple[str, ...]


class _Absent:
    """What stands where a key is missing; None is a value."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Leaf:
    """One difference. `old` or `new` is ABSENT where the key is missing on that side."""

    path: Path
    old: Any
    new: Any


def leaves(old: object, new: object, path: Path = ()) -> Iterator[Leaf]:
    """Yield every leaf at which the two differ; none if and only if they are equal."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from leaves(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key))
    else:
        yield Leaf(path, old, new)


def listed_by_id(value: object) -> bool:
    """Tell whether this is a list whose entries have ids."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(entry, Mapping) and "id" in entry for entry in value)
    )
