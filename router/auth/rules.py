"""What ``--auth-config`` says, as values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from router.auth.arn import Principal
from router.identity import Key

ALGORITHMS = ("RS256", "ES256", "EdDSA")  # asymmetric only: a secret shared with us signs nothing
LEEWAY_S = 30

Claim = tuple[str, ...]
"""The way to a claim: its name, or of a claim within claims every name on the way."""


@dataclass(frozen=True, slots=True)
class JwtRules:
    """Which tokens are believed. `claims` say where a token has tenant, team, lanes and models,
    `tags` where it has the value of a tag; `give` is the key that every token begins with.
    """

    issuer: str
    audiences: frozenset[str]
    jwks_url: str | None
    algorithms: tuple[str, ...]
    leeway_s: int
    claims: Mapping[str, Claim]
    tags: Mapping[str, Claim]
    admin: tuple[Claim, str] | None
    give: Key


@dataclass(frozen=True, slots=True)
class IamRules:
    """Who the principals are here; the first that matches decides."""

    principals: tuple[tuple[Principal, Key], ...]


@dataclass(frozen=True, slots=True)
class AuthConfig:
    jwt: JwtRules | None = None
    iam: IamRules | None = None
