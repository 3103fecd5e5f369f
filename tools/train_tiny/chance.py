"""Shares: how often something is done to a sample."""

from random import Random


def seeded(seed: int) -> Random:
    """A generator whose draws are the same on every machine."""
    return Random(seed)  # noqa: S311 (training data, no secrets)


def happens(share: float, rng: Random) -> bool:
    """Whether this is one of the `share` of the cases."""
    return rng.random() < share
