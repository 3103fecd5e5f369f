"""Which values a budget can have, as a person writes them."""

from dataclasses import replace

import pytest

from policies.match import value_of
from policies.model import Facts, Match
from router.budget_value import form_of, is_value, is_value_of

EVERYBODY, TEAM, ANY_TEAM = Match(), Match(team="search"), Match(team="*")
ANY_KEY, TAG = Match(key="*"), Match(tags=(("app", "*"), ("env", "prod")))
MANY = Match(tenant="acme", team="*", key="*", tags=(("app", "*"),))
FACTS = Facts(
    at="2026-11-21T00:00:00.000Z",
    tenant="acme",
    team="search",
    key="ab12cd34",
    tags={"app": "搜索 a,b=c", "env": "prod"},
    task="code",
    tier="heavy",
    complexity=0.9,
    p_small=0.1,
    language="en",
    tokens_in=10,
    tokens_out=10,
)


@pytest.mark.parametrize("match", [EVERYBODY, TEAM, ANY_TEAM, ANY_KEY, TAG, MANY])
@pytest.mark.parametrize("team", ["search", "搜索组", "a,b", "a=b"])
def test_what_requests_count_under_is_a_value(match, team):
    value = value_of(match, replace(FACTS, team=team))
    if value is not None:
        assert is_value_of(match, value)
        assert is_value(value)


@pytest.mark.parametrize(
    ("match", "value"),
    [
        (EVERYBODY, "team=search"),
        (EVERYBODY, "*"),
        (TEAM, "all"),
        (TEAM, "sou 搜索组"),
        (TEAM, "search"),
        (TEAM, "team=serch"),
        (TEAM, "Team=search"),
        (TEAM, "tenant=acme"),
        (TEAM, "team=search,tags.app=web"),
        (ANY_TEAM, "team=*"),
        (ANY_TEAM, "team="),
        (ANY_TEAM, "team= search"),
        (ANY_TEAM, "team=search\n"),
        (ANY_KEY, "key=*"),
        (ANY_KEY, "key=sk-sluice-ab12cd34"),
        (TAG, "tags.env=prod,tags.app=web"),
        (TAG, "tags.app=web"),
        (TAG, "tags.app=web,tags.env=test"),
        (MANY, "team=search,tenant=acme,key=ab12cd34,tags.app=web"),
    ],
)
def test_what_nobody_can_count_under_is_none(match, value):
    assert not is_value_of(match, value)


@pytest.mark.parametrize(
    ("match", "form"),
    [
        (EVERYBODY, "all"),
        (TEAM, "team=search"),
        (TAG, "tags.app=X,tags.env=prod"),
        (MANY, "tenant=acme,team=X,key=ID,tags.app=X"),
    ],
)
def test_the_form_of_a_value_is_told(match, form):
    assert form_of(match) == form


@pytest.mark.parametrize(
    "value",
    ["", "search", "key=*", "team=", "team=a ", "key=ab12,team=a,key=b*", "tags.=x", "everybody",
     "key=sk-sluice-ab12cd34"],
)  # fmt: skip
def test_a_text_of_no_form_is_no_budget_s_value(value):
    assert not is_value(value)
