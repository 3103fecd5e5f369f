"""What a reader of a replay has to know before its figures."""

from collections.abc import Iterator, Sequence

from router.cli.replay.tables import percent
from router.replay.bench import Found
from router.traces.trace import Trace

SHOWN = 5


def warnings_of(trace: Trace, found: Sequence[Found], *, curve_left_out: bool) -> list[str]:
    """Return sentences, the gravest first."""
    said = [*_of_runs(found), *trace.warnings]
    if curve_left_out:
        said.append(
            "the trace doesn't tell what is simple, and `--no-curve` leaves out the other shares: "
            "the saving is one of many"
        )
    return said


def _of_runs(found: Sequence[Found]) -> Iterator[str]:
    for one in found:
        of, alone = one.summary, one.baseline
        missing = [row.fleet for row in of.by_fleet if row.money.bill is None]
        if missing:
            names = ", ".join(missing[:SHOWN])
            yield f"{of.policy}: the price of {names} is unknown, so the sums are"
        if of.served < of.requests:
            yield (
                f"{of.policy}: {of.requests - of.served:,} of {of.requests:,} requests were not "
                f"served ({of.refused:,} refused, {of.timed_out:,} timed out)"
            )
        if not alone.reached:
            yield (
                f"{of.policy}: {alone.fleet} alone is in SLO {percent(alone.attained)} at best, "
                f"the policy {percent(of.attained)}: the saving compares unequal service"
            )
