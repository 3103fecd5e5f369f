"""What a report can be grouped by: one table."""

from collections.abc import Callable, Mapping

from router.ledger.entry import Entry
from yamlfile import suggest

Value = str | None
DIMENSIONS: Mapping[str, Callable[[Entry], Value]] = {
    "team": lambda entry: entry.team,
    "tenant": lambda entry: entry.tenant,
    "key": lambda entry: entry.key,
    "rule": lambda entry: entry.rule,
    "fleet": lambda entry: entry.fleet,
    "model": lambda entry: entry.model,
    "task": lambda entry: entry.task,
}
TAG = "tag:"
KNOWN = (*DIMENSIONS, f"{TAG}<k>")


def dimension(name: str) -> Callable[[Entry], Value]:
    """Return what groups rows by this name; raise ValueError for an unknown one."""
    if name in DIMENSIONS:
        return DIMENSIONS[name]
    if name.startswith(TAG) and len(name) > len(TAG):
        return lambda entry: dict(entry.tags).get(name.removeprefix(TAG))
    raise ValueError(f"unknown dimension `{name}` {suggest(name, KNOWN)}")
