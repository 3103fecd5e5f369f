"""Where a policy is on AWS AppConfig: ``appconfig:APPLICATION/ENVIRONMENT/PROFILE``."""

from dataclasses import dataclass
from typing import Final

SCHEME: Final = "appconfig:"
MOST_CHARACTERS: Final = 128  # of a name or an id (botocore: appconfigdata, Identifier)


@dataclass(frozen=True, slots=True)
class Place:
    """Each part is a name or an id."""

    application: str
    environment: str
    profile: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.application}/{self.environment}/{self.profile}"


def place_of(text: str) -> Place:
    """Return the place that this names. Raises ValueError."""
    parts = text.removeprefix(SCHEME).split("/")
    if (
        not text.startswith(SCHEME)
        or len(parts) != len(Place.__slots__)
        or not all(0 < len(part) <= MOST_CHARACTERS and part.isprintable() for part in parts)
    ):
        raise ValueError(
            f"`{text[:80]}` is no place on AppConfig (valid: "
            "`appconfig:APPLICATION/ENVIRONMENT/PROFILE`, names or ids)"
        )
    return Place(*parts)
