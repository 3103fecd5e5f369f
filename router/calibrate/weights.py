"""How much the labels of each key weigh: none may make up more than a share of the whole. Pure."""

from collections import Counter
from collections.abc import Sequence

KEY_SHARE = 0.5  # of the weight of a fit, at most, from one key
EXACT = 1e-9


def fair_share(keys: Sequence[str | None], share: float) -> float:
    """Return the share that a key may have: what is asked for, or as much as each of too few
    keys must have, so that the only one there is has no bound. None are labels of no key (a
    file's): the operator's own, never weighed down.
    """
    return max(share, 1 / max(1, len(set(keys) - {None})))


def weigh(keys: Sequence[str | None], share: float) -> list[float]:
    """Return a weight, 0 to 1, for each label, by the key that gave it: as large as can be while no
    key's together exceed `share` of all. Of a key that stands alone, with a share below 1, it is 0.
    """
    sizes = Counter(key for key in keys if key is not None)
    most = _most(sorted(sizes.values(), reverse=True), len(keys) - sizes.total(), share)
    return [1.0 if key is None else min(1.0, most / sizes[key]) for key in keys]


def _most(sizes: Sequence[int], own: int, share: float) -> float:
    """Return the largest c with c <= share x (own + the sum of min(size, c)); sizes fall."""
    rest = float(sum(sizes))
    for cut, size in enumerate(sizes):
        # The `cut` largest weigh c, the others their size.
        c = share * (own + rest) / (1 - cut * share)
        if size <= c * (1 + EXACT):
            return c if cut else float(size)
        rest -= size
    return share * own / (1 - len(sizes) * share) if len(sizes) * share < 1 else 0.0
