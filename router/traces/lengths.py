"""How long generated prompts and answers are: `fixed:100`, `exponential:200`, and more."""

import math
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Final

from router.traces.arrivals import MOST_TOKENS

Draw = Callable[[Random], float]

FORMS: Final[Mapping[str, tuple[str, Callable[..., Draw]]]] = MappingProxyType(
    {
        "fixed": ("TOKENS", lambda tokens: lambda _: tokens),
        "exponential": ("MEAN", lambda mean: lambda draw: draw.expovariate(1 / mean)),
        "lognormal": (
            "MEDIAN:SIGMA",
            lambda median, sigma: lambda draw: draw.lognormvariate(math.log(median), sigma),
        ),
        "uniform": ("LEAST:MOST", lambda least, most: lambda draw: draw.uniform(least, most)),
    }
)
KNOWN: Final = ", ".join(f"{name}:{form}" for name, (form, _) in FORMS.items())
MOST_SIGMA: Final = 5.0


def length(text: str) -> Callable[[Random], int]:
    """Return what draws lengths of this form, of 1 token or more; raise ValueError."""
    name, *given = text.split(":")
    form, make = FORMS.get(name, ("", None))
    if make is None or len(given) != len(form.split(":")):
        raise ValueError(f"`{text}` is no length (known: {KNOWN})")
    try:
        figures = [float(one) for one in given]
    except ValueError:
        raise ValueError(f"`{text}`: its figures must be numbers ({name}:{form})") from None
    most = [MOST_SIGMA if what == "SIGMA" else MOST_TOKENS for what in form.split(":")]
    for figure, top in zip(figures, most, strict=True):
        if not 0 < figure <= top:
            raise ValueError(f"`{text}`: {figure:g} must be above 0, at most {top:,.0f}")
    if name == "uniform" and figures[0] > figures[1]:
        raise ValueError(f"`{text}`: the least is above the most")
    draw = make(*figures)
    return lambda random: min(MOST_TOKENS, max(1, round(draw(random))))
