"""Whether the books are right: every amount is added up again from the rows. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """A scope as the store has it, all in nano-USD. `hard`: it refuses."""

    name: str
    limit: int
    avail: int
    reserved: int
    spent: int
    hard: bool


@dataclass(frozen=True, slots=True)
class Books:
    """What a store holds, read in one moment; scopes are named by their key in `scopes`."""

    scopes: dict[str, ScopeRow]
    held: Sequence[tuple[str, int, tuple[str, ...]]]  # request id, nano, scopes
    rows: Sequence[tuple[str, int, int, tuple[str, ...]]]  # request id, n, nano, scopes


def unbalanced(rows: Iterable[ScopeRow]) -> Iterator[str]:
    """Yield the rows that break what holds of each row by itself, at any moment."""
    for row in rows:
        if row.avail + row.reserved + row.spent != row.limit:
            yield f"{row.name}: avail + reserved + spent is not the limit: {row}"


def violations(books: Books) -> Iterator[str]:
    """Yield what must never be. A limit lowered below what is spent shows here too."""
    reserved, spent = Counter[str](), Counter[str]()
    for _, nano, names in books.held:
        reserved.update(dict.fromkeys(names, nano))
    for _, _, nano, names in books.rows:
        spent.update(dict.fromkeys(names, nano))
    yield from unbalanced(books.scopes.values())
    for key, row in books.scopes.items():
        if row.reserved != reserved[key]:
            yield f"{row.name}: {row.reserved} reserved, open reservations hold {reserved[key]}"
        if row.spent != spent[key]:
            yield f"{row.name}: {row.spent} spent, the rows charge {spent[key]}"
        if row.hard and row.spent > row.limit:
            yield f"{row.name}: {row.spent} spent of {row.limit}"
    twice = Counter((request_id, n) for request_id, n, _, _ in books.rows)
    yield from (f"{row} stands {count} times" for row, count in twice.items() if count > 1)
