"""Nano-USD as text: exact decimals, however large, so that sums reconcile to the last digit."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from backends.cost import NANO

_UNIT = Decimal(1)
MICRO = 1000


def usd_text(nano: int) -> str:
    """Return USD with 9 decimals; the sign stands before the whole."""
    whole, rest = divmod(abs(nano), NANO)
    return f"{'-' if nano < 0 else ''}{whole}.{rest:09d}"


def usd_cents(nano: int) -> str:
    """Return USD as a person reads them: cents, or so many decimals that a small sum shows."""
    return f"{Decimal(nano) / NANO:,.{decimals_of([nano])}f}"


def decimals_of(column: Iterable[int]) -> int:
    """Return how many decimals show every amount of a column: cents, or as its smallest needs."""
    least = min((abs(nano) for nano in column if nano), default=NANO)
    return 2 if least >= NANO // 100 else 6 if least >= MICRO else 9


def dollars(nano: int, decimals: int | None = None) -> str:
    """Return the same in a sentence: -$1.80; `decimals`: of the column in which it stands."""
    digits = decimals_of([nano]) if decimals is None else decimals
    return f"{'-' if nano < 0 else ''}${Decimal(abs(nano)) / NANO:,.{digits}f}"


def exact(nano: int) -> str:
    """Return it to the nano-dollar, in a sentence: $20.00, -$0.0001."""
    whole, _, rest = usd_text(abs(nano)).partition(".")
    return f"{'-' if nano < 0 else ''}${whole}.{rest.rstrip('0').ljust(2, '0')}"


def nano_of(text: str) -> int:
    """Return USD as whole nano-USD, half to even; raise ValueError for what is no finite number."""
    try:
        return int((Decimal(text) * NANO).quantize(_UNIT, ROUND_HALF_EVEN))
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError(f"not an amount: `{text[:40]}`") from None
