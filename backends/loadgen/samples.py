"""What single requests saw -> one measurement of a load. Pure."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from backends.importers.measurement import Measurement, Percentiles


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, in seconds of one clock. `failed`: the code of what went wrong, else None.

    `first_s` is the first token of content, `last_s` the last one.
    """

    began_s: float
    first_s: float | None
    last_s: float
    tokens_in: int | None
    tokens_out: int | None
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class NothingMeasured(Exception):  # noqa: N818  (it reads as what it says)
    """No request of a load was answered; `codes` says how often what went wrong."""

    codes: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return ", ".join(f"{count} x {code}" for code, count in self.codes) or "no request ended"


def measurement(samples: Sequence[Sample], concurrency: int, date: str) -> Measurement:
    """Sum up a load; raise NothingMeasured.

    A request's ITL is (last - first token) / (n - 1), which end-to-end time is made of. Throughput
    is of the whole load, from its first request to its last token.
    """
    answered = [sample for sample in samples if is_answered(sample)]
    if not answered:
        codes = Counter(sample.failed or "no usage was told" for sample in samples)
        raise NothingMeasured(tuple(codes.most_common()))
    tokens_out = sum(sample.tokens_out or 0 for sample in answered)
    tokens_in = sum(sample.tokens_in or 0 for sample in answered)
    took_s = max(s.last_s for s in answered) - min(s.began_s for s in answered)
    return Measurement(
        concurrency=concurrency,
        tokens_in=tokens_in / len(answered),
        tokens_out=tokens_out / len(answered),
        mix_tok_s=tokens_out / took_s,
        ttft_ms=percentiles([1000 * (s.first_s - s.began_s) for s in answered if s.first_s]),
        itl_ms=percentiles([itl for s in answered if (itl := itl_ms(s)) is not None]),
        e2e_ms=percentiles([1000 * (s.last_s - s.began_s) for s in answered]),
        completed=len(answered),
        failed=len(samples) - len(answered),
        date=date,
    )


def is_answered(sample: Sample) -> bool:
    """Return whether the request was answered to its end and told its tokens."""
    return sample.failed is None and sample.first_s is not None and bool(sample.tokens_out)


def itl_ms(sample: Sample) -> float | None:
    """Return the time between two tokens; None: there were not two."""
    if sample.first_s is None or sample.tokens_out is None or sample.tokens_out < 2:  # noqa: PLR2004
        return None
    return 1000 * (sample.last_s - sample.first_s) / (sample.tokens_out - 1)


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """Return mean and percentiles, each on the line between its two neighbours."""
    if not values:
        return None
    ranked = sorted(values)
    mean = sum(ranked) / len(ranked)
    return Percentiles(mean, *(_at(ranked, share) for share in (0.5, 0.9, 0.95, 0.99)))


def _at(ranked: Sequence[float], share: float) -> float:
    place = share * (len(ranked) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (place - low) * (ranked[high] - ranked[low])
