"""Who served each request of a replay, by name, or what became of whom nobody served. Pure."""

from collections.abc import Iterator

from router.replay.outcome import SERVED, TIMED_OUT, Replayed

REFUSED_NAME = "(refused)"
TIMED_OUT_NAME = "(timed out)"


def whom(run: Replayed) -> Iterator[str]:
    """Yield the fleet that served, request by request; a fleet that was too late did not."""
    names = [fleet.fleet for fleet in run.fleets]
    for fleet, outcome in zip(run.fleet, run.outcome, strict=True):
        if outcome == SERVED:
            yield names[fleet]
        else:
            yield TIMED_OUT_NAME if outcome == TIMED_OUT else REFUSED_NAME
