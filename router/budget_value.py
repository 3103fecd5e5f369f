"""The values of a budget, as a person writes them: `team=search`, `key=ab12cd34`, `all`.

They are those that `policies.match.value_of` makes. Pure.
"""

import re

from policies.match import ANY
from policies.model import Match
from router.key_rows import PREFIX

_NAME = r"[^*\s](?:[^*]*[^*\s])?"
_KEY = rf"(?!{re.escape(PREFIX)}){_NAME}"  # the id alone is what counts
_AND = r"(?:,(?=.)|$)"
_SOME_VALUE = re.compile(
    rf"(?=.)(?:tenant={_NAME}{_AND})?(?:team={_NAME}{_AND})?(?:key={_KEY}{_AND})?"
    rf"(?:tags\.[^=,]+={_NAME}{_AND})*"
)
EVERYBODY = "all"
FORMS = (
    "`all`, or of `tenant=X`, `team=X`, `key=ID`, `tags.NAME=X`, in this order and joined by `,`"
)


def form_of(match: Match) -> str:
    """Return how a value of this match is written; X is any name, ID a key's id."""
    parts = [
        f"{name}={('ID' if name == 'key' else 'X') if wanted == ANY else wanted}"
        for name, wanted in _dimensions(match)
    ]
    return ",".join(parts) or EVERYBODY


def is_value_of(match: Match, value: str) -> bool:
    """Tell whether requests can count in a budget of this match under this value."""
    parts = [
        f"{re.escape(name)}={_any(name) if wanted == ANY else re.escape(wanted)}"
        for name, wanted in _dimensions(match)
    ]
    return re.fullmatch(",".join(parts) or EVERYBODY, value) is not None


def is_value(value: str) -> bool:
    """Tell whether some budget could have this value."""
    return value == EVERYBODY or _SOME_VALUE.fullmatch(value) is not None


def _any(name: str) -> str:
    return _KEY if name == "key" else _NAME


def _dimensions(match: Match) -> list[tuple[str, str]]:
    own = (("tenant", match.tenant), ("team", match.team), ("key", match.key))
    tags = ((f"tags.{name}", wanted) for name, wanted in match.tags)
    return [(name, wanted) for name, wanted in (*own, *tags) if wanted is not None]
