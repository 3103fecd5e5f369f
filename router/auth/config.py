"""``--auth-config FILE``: whose tokens and principals are believed, and who they are here. Pure.

* yamlfile.Invalid   the file is at fault: every problem, in the order of the lines
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yamlfile
from policies.model import SHADOW
from policies.names import Names
from router.auth.arn import Principal, pattern
from router.auth.rules import ALGORITHMS, LEEWAY_S, AuthConfig, Claim, IamRules, JwtRules
from router.auth.urls import url_fault
from router.identity import LIMITS, RIGHTS, VALID_NAME, Key, is_name
from yamlfile import Fault, Path, suggest

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT, "uniqueItems": True}
_TAGS = {"type": "object", "additionalProperties": _TEXT}
_CLAIM = {
    "anyOf": [_TEXT, {**_TEXTS, "minItems": 1, "uniqueItems": False}],
    "description": "the name of a claim, or [outer, inner] for one within another",
}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:  # noqa: ANN401  (a schema)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


_GIVEN: dict[str, Any] = {
    "tenant": _TEXT,
    "team": _TEXT,
    "tags": _TAGS,
    "allow_tags": _TEXTS,
    "lanes": {**_TEXTS, "minItems": 1},
    "models": {**_TEXTS, "minItems": 1},
    "may": {"type": "array", "items": {"enum": list(RIGHTS)}, "uniqueItems": True},
    **{name: {"type": "integer", "minimum": 1, "maximum": 10**12} for name in LIMITS},
}
_CLAIMS = ("tenant", "team", "lanes", "models")
SCHEMA = _object(
    ["version"],
    version={"const": 1},
    jwt=_object(
        ["issuer", "audience"],
        issuer=_TEXT,
        audience={"anyOf": [_TEXT, {**_TEXTS, "minItems": 1}], "description": "a text or a list"},
        jwks_url=_TEXT,
        algorithms={
            "type": "array",
            "items": {"enum": list(ALGORITHMS)},
            "minItems": 1,
            "uniqueItems": True,
        },
        leeway_s={"type": "integer", "minimum": 0, "maximum": 300},
        claims=_object(
            [],
            **dict.fromkeys(_CLAIMS, _CLAIM),
            tags={"type": "object", "additionalProperties": _CLAIM},
        ),
        admin=_object(["claim", "has"], claim=_CLAIM, has=_TEXT),
        give=_object([], **_GIVEN),
    ),
    iam=_object(
        ["principals"],
        principals={
            "type": "array",
            "minItems": 1,
            "items": _object(["arn", "tenant"], arn=_TEXT, admin={"type": "boolean"}, **_GIVEN),
        },
    ),
)


def parse(text: str, name: str, names: Names) -> AuthConfig:
    """Return what the file says; `names` are the lanes and models that exist."""
    document = yamlfile.read(text, name, SCHEMA)
    value = document.value
    jwt, iam = value.get("jwt"), value.get("iam")
    faults: list[Fault] = []
    if jwt is None and iam is None:
        faults.append(((), "nobody is believed by this file: give `jwt`, `iam` or both"))
    if jwt is not None:
        faults += [*_issuer_faults(jwt), *_claim_faults(jwt)]
        faults += _given_faults(("jwt", "give"), jwt.get("give", {}), names)
    if iam is not None:
        faults += _iam_faults(iam, names)
    if faults:
        raise document.invalid(faults)
    return AuthConfig(None if jwt is None else _jwt(jwt), None if iam is None else _iam(iam))


# -- what is wrong ---------------------------------------------------------------------------------


def _issuer_faults(jwt: Mapping[str, Any]) -> Iterator[Fault]:
    for field in ("issuer", "jwks_url"):
        objection = url_fault(jwt[field]) if field in jwt else None
        if objection is None and field == "issuer" and "?" in jwt[field]:
            objection = "an issuer has no `?`"
        if objection is not None:
            yield ("jwt", field), f"jwt.{field}: {objection}"


def _claim_faults(jwt: Mapping[str, Any]) -> Iterator[Fault]:
    claims, give = jwt.get("claims", {}), jwt.get("give", {})
    tags = claims.get("tags", {})
    if "tenant" not in claims and "tenant" not in give:
        said = "say who the tenant is: `claims: {tenant: CLAIM}` or `give: {tenant: NAME}`"
        yield ("jwt",), f"jwt: {said}"
    for field in _CLAIMS:
        if field in claims and field in give:
            yield ("jwt", "give", field), f"jwt.give.{field}: `claims` says it already"
    for tag in tags:
        if not is_name(tag):
            said = f"jwt.claims.tags: not a name (valid: {VALID_NAME})"
            yield ("jwt", "claims", "tags", tag), said
        if tag in give.get("tags", {}):
            yield ("jwt", "give", "tags", tag), f"jwt.give.tags.{tag}: `claims` says it already"


def _iam_faults(iam: Mapping[str, Any], names: Names) -> Iterator[Fault]:
    seen: dict[Principal, int] = {}
    for i, given in enumerate(iam["principals"]):
        here: Path = ("iam", "principals", i)
        yield from _given_faults(here, given, names)
        principal = pattern(given["arn"])
        if isinstance(principal, str):
            yield (*here, "arn"), f"{yamlfile.dotted(here)}.arn: {principal}"
            continue
        for other, at in seen.items():
            if other.covers(principal):
                said = f"never reached: principals[{at}] matches first"
                yield (*here, "arn"), f"{yamlfile.dotted(here)}.arn: {said}"
        seen.setdefault(principal, i)


def _given_faults(here: Path, given: Mapping[str, Any], names: Names) -> Iterator[Fault]:
    where = yamlfile.dotted(here)
    tags = given.get("tags", {})
    texts: list[tuple[Path, str]] = [
        *(((field,), given[field]) for field in ("tenant", "team") if field in given),
        *((("tags", tag), tag) for tag in tags),
        *((("tags", tag), value) for tag, value in tags.items()),
        *(
            (("allow_tags", i), tag)
            for i, tag in enumerate(given.get("allow_tags", ()))
            if tag != "*"
        ),
    ]
    for path, text in texts:
        if not is_name(text):
            said = f"not a name (valid: {VALID_NAME})"
            yield (*here, *path), f"{where}.{yamlfile.dotted(path)}: {said}"
    if given.get("tenant") == SHADOW:
        said = f"`{SHADOW}` is the router's own: choose another name"
        yield (*here, "tenant"), f"{where}.tenant: {said}"
    for field, known in (("lanes", names.lanes), ("models", names.models)):
        for i, name in enumerate(given.get(field, ())):
            if name not in known:
                said = f"unknown {field[:-1]} `{name}` {suggest(name, known)}"
                yield (*here, field, i), f"{where}.{field}[{i}]: {said}"


# -- what it says ----------------------------------------------------------------------------------


def _jwt(jwt: Mapping[str, Any]) -> JwtRules:
    claims = jwt.get("claims", {})
    audience, admin = jwt["audience"], jwt.get("admin")
    return JwtRules(
        issuer=jwt["issuer"],
        audiences=frozenset([audience] if isinstance(audience, str) else audience),
        jwks_url=jwt.get("jwks_url"),
        algorithms=tuple(jwt.get("algorithms", ALGORITHMS)),
        leeway_s=jwt.get("leeway_s", LEEWAY_S),
        claims={field: _claim(claims[field]) for field in _CLAIMS if field in claims},
        tags={tag: _claim(claim) for tag, claim in claims.get("tags", {}).items()},
        admin=None if admin is None else (_claim(admin["claim"]), admin["has"]),
        give=_key(jwt.get("give", {})),
    )


def _iam(iam: Mapping[str, Any]) -> IamRules:
    principals = []
    for given in iam["principals"]:
        principal = pattern(given["arn"])
        assert isinstance(principal, Principal), "its faults were told"
        principals.append((principal, _key(given)))
    return IamRules(tuple(principals))


def _claim(written: str | list[str]) -> Claim:
    return (written,) if isinstance(written, str) else tuple(written)


def _key(given: Mapping[str, Any]) -> Key:
    """Return the key without an id, and without a tenant where the token names it."""
    lanes, models = given.get("lanes"), given.get("models")
    return Key(
        id="",
        tenant=given.get("tenant", ""),
        team=given.get("team"),
        tags=dict(given.get("tags", {})),
        allowed_tags=tuple(given.get("allow_tags", ())),
        lanes=None if lanes is None else tuple(lanes),
        models=None if models is None else tuple(models),
        may=tuple(given.get("may", ("pin_model",))),
        admin=given.get("admin", False),
        **{name: given[name] for name in LIMITS if name in given},
    )
