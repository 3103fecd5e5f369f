"""What to know of labels before, and of what was learnt after: the warnings of a calibration."""

from collections.abc import Iterator, Sequence

from router.calibrate.distinct import Distinct
from router.calibrate.fit import LEAST, Fitted, weighted
from router.calibrate.weights import fair_share
from router.cli.calibrate.found import Found, by_key
from router.cli.errors import REFUSED, Ends
from router.labels import Given

FEW = 200  # labels; below, intervals are too wide to trust
RANDOM = 0.5  # APGR


def warnings_of(read: Distinct, given: Sequence[Given], key_share: float) -> Iterator[str]:
    """Yield what to know of these labels; raise Ends where they are too few."""
    found = read.labels
    others = len(given) - sum(one.by_p_small for one in given)
    left_out = (
        f"{labels_of(others)} of feedback {_are(others)} left out: p_small is not their model's "
        "quality"
    )
    weighed = weighted(found, key_share)
    share = fair_share([label.key for label in found], key_share)
    weight = sum(label.weight for label in weighed)
    bounded = [
        f"key `{key}` gave {count} of {len(found)} labels, which count as {mine:.0f}: no key makes "
        f"up more than {share:.0%} (`--key-share`)"
        for key, count, mine in by_key(weighed)
        if mine < count
    ]
    if weight < LEAST:
        many = labels_of(len(found))
        if copies := read.doubled + read.repeated:
            many += f" ({len(found) + copies} lines, but copies of a text count as one label)"
        if bounded:
            many += f" that weigh as {weight:.0f}"
        few = f"{_are(len(found))} too few to learn from: at least {LEAST}, better some hundred"
        said = f"{many} {few}" if found else "no labels are left to learn from"
        raise Ends("\n".join([said, *bounded, *([left_out] if others else [])]), REFUSED)
    if others:
        yield left_out
    yield from bounded
    if weight < FEW:
        yield f"{weight:.0f} labels are few: a few hundred make the intervals useful"
    keys = {label.key for label in found}
    if len(keys) == 1 and keys != {None}:
        yield f"all labels are of key `{keys.pop()}`: nobody else's stand beside them"
    texts = sum(label.text is not None for label in found)
    if 0 < texts < LEAST:
        few = f"{labels_of(texts)} with text {_are(texts)} too few for their words"
        yield f"{few}: they teach as those without do"
    yield from _copies(read)
    if not any(label.strong for label in found):
        said = "the strong model answered none of these acceptably: nothing to compare with"
        raise Ends(f"{said}; nothing is written", REFUSED)
    if sum(label.gain for label in found) <= 0:
        yield (
            "the strong model is not stronger on these labels: nothing to order by; are `weak` and "
            "`strong` swapped?"
        )


def _copies(read: Distinct) -> Iterator[str]:
    if read.doubled:
        bear = "line bears" if read.doubled == 1 else "lines bear"
        yield f"{read.doubled} {bear} id and text of an earlier one: doubled lines count once"
    if read.repeated:
        repeat = "repeats" if read.repeated == 1 else "repeat"
        yield (
            f"{labels_of(read.repeated)} {repeat} the text of another: labels of one text weigh "
            "together as one"
        )
    if read.torn:
        stand = "id stands" if read.torn == 1 else "ids stand"
        yield f"{read.torn} {stand} on lines of different texts: an id should be one request's"


def doubts(learnt: Found) -> Iterator[str]:
    """Yield why what was learnt may not be worth using."""
    yield from _untold(learnt.fitted)
    yield from _reversed(learnt)
    mine = learnt.orderings["calibrated"]
    if mine.apgr is None or mine.low is None:
        return
    if learnt.fitted.is_level:
        return
    if mine.low <= RANDOM:
        yield (
            f"APGR {mine.apgr:.3f} may be chance: 0.5 lies within its interval; more labels would "
            "tell"
        )
    for name in ("complexity", "length"):
        other = learnt.orderings[name].apgr
        if other is not None and other >= mine.apgr:
            yield f"{name} alone orders these labels as well (APGR {other:.3f})"


def _untold(fitted: Fitted) -> Iterator[str]:
    """Yield what of the labels doesn't tell which requests the small model answers as well."""
    count = labels_of(len(fitted.labels))
    same = f"p_small is the same for all, {fitted.p_small[0]:.4f}"
    kinds = {label.acceptable for label in fitted.labels}
    if kinds in ({0.0}, {1.0}):
        yield (
            f"all labels are {'' if kinds == {1.0} else 'not '}acceptable: nothing is learnt of "
            f"which requests differ; {same}"
        )
    elif fitted.is_level:
        yield (
            f"which of these {count} are acceptable is foretold no better than by chance: {same}; "
            "the counts by task hold, and more labels would tell"
        )
    elif fitted.words is False:
        yield (
            "words tell no better than by chance which of these labels are acceptable: those with "
            "text teach as those without do"
        )
    elif fitted.features is False:
        yield (
            "the labels without text teach how many are acceptable alone: their task, complexity, "
            "language and size tell no better than by chance which"
        )


def _reversed(learnt: Found) -> Iterator[str]:
    """Yield where requests that look hard gain less from the strong model: mostly a mistake."""
    found = {name: learnt.orderings[name] for name in ("complexity", "length")}
    turned = [
        f"{one.apgr:.3f} by {name}, at most {one.high:.3f}"
        for name, one in found.items()
        if one.high is not None and one.high < RANDOM
    ]
    if turned:
        yield (
            f"the strong model gains least where requests look hard (APGR {'; '.join(turned)}): "
            "are `weak` and `strong` swapped, or `acceptable` turned round?"
        )


def labels_of(count: int) -> str:
    return "1 label" if count == 1 else f"{count} labels"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
