"""Claims of a token whose signature was checked -> who the caller is here. Pure.

A claim that the configuration names must be there and be well formed: a token without it gets no
more rights, and no other budget, than it was meant to.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from policies.model import SHADOW
from router.auth.rules import Claim, JwtRules
from router.errors import Refusal
from router.identity import Key, is_name

LONGEST_SUBJECT = 255  # OpenID Connect Core 1.0, section 2
MOST_NAMES = 100  # in a list of lanes or models
_LAST_S = 253_402_000_000  # some days before the end of the year 9999


def key_of(claims: Mapping[str, Any], rules: JwtRules, now_s: float) -> Key | Refusal:
    """Return the caller, or why this token makes nobody one now. `now_s`: since 1970."""
    ends_s = _ends_s(claims, rules, now_s)
    if isinstance(ends_s, str):
        return invalid(ends_s)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        return invalid("its claim `sub` is missing or no name")
    if not subject.isprintable():
        return invalid("its claim `sub` has characters that no name has")
    try:
        return replace(
            rules.give,
            id=f"jwt:{subject}",
            expires=datetime.fromtimestamp(ends_s, UTC).isoformat(timespec="milliseconds")[:-6]
            + "Z",
            tags={**rules.give.tags, **{t: _name(claims, c) for t, c in rules.tags.items()}},
            admin=_is_admin(claims, rules),
            **_mapped(claims, rules),
        )
    except _NotMappedError as exc:
        return Refusal(403, f"this token is valid, but {exc}", "identity_not_mapped")


def invalid(why: str) -> Refusal:
    """Return the 401 of RFC 6750 for a token; `why` must not repeat what it holds."""
    headers = ((b"www-authenticate", b'Bearer error="invalid_token"'),)
    return Refusal(401, f"this token is not accepted: {why}", "invalid_token", headers=headers)


class _NotMappedError(Exception):
    pass


def _ends_s(claims: Mapping[str, Any], rules: JwtRules, now_s: float) -> float | str:
    """Return when the token ends, with the leeway, or what is wrong with it."""
    audience = claims.get("aud")
    meant = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != rules.issuer:
        return "it comes from another issuer (`iss`)"
    if not any(isinstance(one, str) and one in rules.audiences for one in meant):
        return "it is meant for somebody else (`aud`)"
    ends_s, begins_s = _time(claims.get("exp")), _time(claims.get("nbf", 0))
    if ends_s is None or begins_s is None:
        return "it does not say when it ends (`exp`), or not as a time (`exp`, `nbf`)"
    if now_s >= ends_s + rules.leeway_s:
        return "it has expired"
    if now_s < begins_s - rules.leeway_s:
        return "it is not valid yet (`nbf`)"
    return ends_s + rules.leeway_s


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LAST_S else None


def _mapped(claims: Mapping[str, Any], rules: JwtRules) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, claim in rules.claims.items():
        found[field] = (
            _names(claims, claim) if field in ("lanes", "models") else _name(claims, claim)
        )
    if found.get("tenant") == SHADOW:
        raise _NotMappedError(f"its tenant `{SHADOW}` is the router's own")
    return found


def _name(claims: Mapping[str, Any], claim: Claim) -> str:
    value = _at(claims, claim)
    if not isinstance(value, str) or not is_name(value):
        raise _NotMappedError(f"its claim `{'.'.join(claim)}` is missing or no name")
    return value


def _names(claims: Mapping[str, Any], claim: Claim) -> tuple[str, ...]:
    value = _at(claims, claim)
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST_NAMES:
        raise _NotMappedError(f"its claim `{'.'.join(claim)}` is missing or no list of names")
    if not all(isinstance(name, str) and is_name(name) for name in listed):
        raise _NotMappedError(f"its claim `{'.'.join(claim)}` holds what is no name")
    return tuple(listed)


def _is_admin(claims: Mapping[str, Any], rules: JwtRules) -> bool:
    if rules.admin is None:
        return False
    claim, wanted = rules.admin
    value = _at(claims, claim)
    return wanted in value if isinstance(value, list) else value == wanted


def _at(claims: Mapping[str, Any], claim: Claim) -> object:
    value: object = claims
    for name in claim:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value
