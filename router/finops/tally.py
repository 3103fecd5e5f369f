"""Charges added up by a group, and compared with the baseline request by request. Pure.

A request's rows may fall into several groups (a cascade's two fleets); its baseline stands on the
last. So a row waits for its request's last one before it is known to be comparable.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from router.ledger.entry import Entry

Value = str | None


@dataclass(slots=True)
class Sums:
    """Whole nano-USD. `unmatched`: charges (the router's with them) of requests whose baseline is
    unknown, which savings leave out.
    """

    requests: int = 0
    nano: int = 0
    marginal: int = 0
    marginal_known: int = 0  # rows
    marginal_unknown: int = 0
    router: int = 0
    baseline: int = 0
    baseline_known: int = 0  # requests
    baseline_unknown: int = 0
    unmatched: int = 0
    emulated: int = 0

    @property
    def saved(self) -> int | None:
        """Return what was saved against the baseline; None: no request has one."""
        if not self.baseline_known:
            return None
        return self.baseline - (self.nano + self.router - self.unmatched)

    def __iadd__(self, other: "Sums") -> Self:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


@dataclass(slots=True)
class _Request:
    """Where a request's charges went, and what is known of its baseline."""

    parts: list[tuple[Value, int]] = field(default_factory=list)
    group: Value = None
    baseline: int | None = None


class Tally:
    """Adds rows in the ledger's order; holds only requests that aren't whole or ran out."""

    def __init__(self, group: Callable[[Entry], Value]) -> None:
        self._group = group
        self._sums: dict[Value, Sums] = {}
        self._open: dict[str, _Request] = {}
        self._expired: dict[str, _Request] = {}

    def add(self, entry: Entry) -> None:
        group = self._group(entry)
        sums = self._at(group)
        sums.nano += entry.nano
        sums.router += entry.nano_router
        sums.emulated += entry.nano if entry.emulated else 0
        if entry.nano_marginal is None:
            sums.marginal_unknown += 1
        else:
            sums.marginal += entry.nano_marginal
            sums.marginal_known += 1
        if entry.kind == "correction":
            self._correct(entry, group)
            return
        request = self._open.setdefault(entry.request_id, _Request())
        request.parts.append((group, entry.nano + entry.nano_router))
        if not entry.last:
            return
        del self._open[entry.request_id]
        request.group, request.baseline = group, entry.nano_baseline
        sums.requests += 1
        self._match(request, 1)
        if entry.kind == "expired":
            self._expired[entry.request_id] = request

    def done(self) -> Mapping[Value, Sums]:
        """Return the sums; what belongs to no whole request is compared with nothing."""
        for request in self._open.values():
            self._leave_out(request, 1)
        self._open.clear()
        return self._sums

    def _at(self, group: Value) -> Sums:
        return self._sums.setdefault(group, Sums())

    def _match(self, request: _Request, sign: int) -> None:
        """Count a request's baseline, or leave its charges out; `sign` -1 takes that back."""
        sums = self._at(request.group)
        if request.baseline is None:
            sums.baseline_unknown += sign
            self._leave_out(request, sign)
        else:
            sums.baseline += sign * request.baseline
            sums.baseline_known += sign

    def _leave_out(self, request: _Request, sign: int) -> None:
        for group, nano in request.parts:
            self._at(group).unmatched += sign * nano

    def _correct(self, entry: Entry, group: Value) -> None:
        """Compare an expired request once more, now that its use is known.

        A correction of a charge before the first row has nothing to be compared with.
        """
        part = (group, entry.nano + entry.nano_router)
        request = self._expired.get(entry.request_id)
        if request is None:
            self._leave_out(_Request([part]), 1)
            return
        self._match(request, -1)
        request.parts.append(part)
        if entry.nano_baseline is not None:
            request.baseline = (request.baseline or 0) + entry.nano_baseline
            request.group = group
        self._match(request, 1)
