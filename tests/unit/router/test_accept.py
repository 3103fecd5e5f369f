"""When the answer of a cascade's first fleet is kept: test by test, and by the name that failed."""

import pytest

from policies.acceptance import ACCEPTANCE, reads_logprobs
from policies.model import Acceptance
from router.accept import TESTS, failed_test
from router.answer import Choice
from router.declining import DECLINES, declines

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["billing", "账单"]}},
    "required": ["label"],
    "additionalProperties": False,
}
WITH_SCHEMA = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "l", "schema": SCHEMA}}
}


def said(text="ok", finish="stop", logprobs=(-0.1,), tokens=3, *, declined=False):
    return Choice(text, finish, logprobs, tokens, declined)


def failed(name, wanted, *choices, **request):
    return failed_test((Acceptance(name, wanted),), choices, {"n": len(choices), **request})


def test_every_test_that_a_policy_may_ask_for_is_made_and_no_other():
    assert list(TESTS) == list(ACCEPTANCE)


@pytest.mark.parametrize(
    ("name", "wanted", "choice", "request_"),
    [
        ("mean_logprob_above", -0.15, said(logprobs=(-0.1, -0.19)), {}),
        ("json_valid", True, said('{"label": "账单"}'), {}),
        ("json_valid", True, said(' [1.5, null, "x"]\n'), {}),
        ("schema_valid", True, said('{"label": "账单"}'), WITH_SCHEMA),
        ("matches", "^(billing|shipping)$", said("shipping"), {}),
        ("matches", "账单|帳單", said("這是帳單問題"), {}),
        ("tokens", {"above": 2, "below": 4}, said(tokens=3), {}),
        ("tokens", {"above": 2}, said(tokens=2.5), {}),
        ("tokens", {"below": 1}, said(tokens=0), {}),
        ("no_refusal", True, said("The customer can't log in."), {}),
        ("no_refusal", True, said("", "tool_calls"), {}),
    ],
)
def test_an_answer_that_passes_is_accepted(name, wanted, choice, request_):
    assert failed(name, wanted, choice, **request_) is None


@pytest.mark.parametrize(
    ("name", "wanted", "choice", "request_"),
    [
        ("mean_logprob_above", -0.15, said(logprobs=(-0.1, -0.2)), {}),  # not above: equal
        ("mean_logprob_above", -0.15, said(logprobs=None), {}),
        ("mean_logprob_above", -0.15, said(logprobs=()), {}),
        ("json_valid", True, said("billing"), {}),
        ("json_valid", True, said(""), {}),
        ("json_valid", True, said('```json\n{"a": 1}\n```'), {}),
        ("json_valid", True, said('{"a": NaN}'), {}),
        ("json_valid", True, said("[" * 5000 + "]" * 5000), {}),
        ("schema_valid", True, said('{"label": "shipping"}'), WITH_SCHEMA),
        ("schema_valid", True, said("billing"), WITH_SCHEMA),
        ("schema_valid", True, said('{"label": "billing"}'), {}),  # nothing to hold it against
        (
            "schema_valid",
            True,
            said('{"label": "billing"}'),
            {"response_format": {"type": "json_object"}},
        ),
        ("matches", "^(billing|shipping)$", said("billing."), {}),
        ("tokens", {"above": 3}, said(tokens=3), {}),
        ("tokens", {"below": 3}, said(tokens=3), {}),
        ("tokens", {"above": 0}, said(tokens=None), {}),
        ("tokens", {"below": 9}, said(tokens=None), {}),
        ("no_refusal", True, said("I'm sorry, but I can't help with that."), {}),
        ("no_refusal", True, said("ok", declined=True), {}),
    ],
)
def test_an_answer_that_fails_or_cannot_be_judged_is_not(name, wanted, choice, request_):
    assert failed(name, wanted, choice, **request_) == name


@pytest.mark.parametrize("finish", ["length", "content_filter", None, "abort"])
def test_an_answer_that_is_not_whole_is_never_accepted(finish):
    assert failed("matches", "ok", said("ok", finish)) == "finish_reason"


def test_every_choice_must_pass_and_every_one_that_was_asked_for_be_there():
    good, bad = said("{}"), said("no")
    assert failed("json_valid", True, good, good) is None
    assert failed("json_valid", True, good, bad) == "json_valid"
    assert failed("json_valid", True, good, n=2) == "finish_reason"
    assert failed("json_valid", True, n=1) == "finish_reason"


def test_the_first_test_that_fails_is_named_in_the_order_of_the_table():
    tests = tuple(Acceptance(name, "x" if name == "matches" else True) for name in TESTS)[1:4]
    assert failed_test(tests, [said("no")], {}) == "json_valid"
    assert failed_test(tests, [said("1")], {}) == "schema_valid"


def test_a_pattern_that_would_take_python_for_ever_takes_no_time():
    assert failed("matches", r"^(a|aa)+$", said("a" * 100_000 + "b")) == "matches"


def test_log_probabilities_are_asked_for_only_where_they_are_read():
    assert reads_logprobs([Acceptance("mean_logprob_above", -0.1)])
    assert not reads_logprobs(Acceptance(name, None) for name in list(ACCEPTANCE)[1:])


# -- declining -------------------------------------------------------------------------------------

DECLINED = [
    "I'm sorry, but I can't help with that request.",
    "I\N{RIGHT SINGLE QUOTATION MARK}m sorry, I cannot provide legal advice.",
    "Unfortunately, I am unable to assist with this.",
    "As an AI language model, I have no opinion.",
    "很抱歉，我无法提供这方面的建议。",
    "对不起，我不能回答这个问题。",
    "作为一个人工智能助手，我没有个人看法。",
    "很抱歉，我無法提供這方面的建議。",
    "對不起，我不能回答這個問題。",
    "作為一個人工智慧助理，我沒有個人看法。",
]
ANSWERED = [
    "billing",
    "The customer writes: I can't log in to my account.",
    "Yes. I can help you with that.",
    "账单",
    "客户说：我无法登录我的账户。",
    "客戶說：我無法登入我的帳戶。",
    "作为回报，他得到了一本书。",
    "",
    "The answer is 42. " * 50 + "I can't help with anything else.",
]


@pytest.mark.parametrize("text", DECLINED)
def test_a_refusal_is_known_in_english_and_in_both_chinese_scripts(text):
    assert declines(text)


@pytest.mark.parametrize("text", ANSWERED, ids=[text[:20] for text in ANSWERED])
def test_an_answer_about_what_somebody_cannot_do_is_none(text):
    assert not declines(text)


def test_what_one_script_knows_the_other_one_knows_too():
    hans, hant = DECLINES["zh-Hans"], DECLINES["zh-Hant"]
    assert len(hans[0]) == len(hant[0])
    assert len(hans[1]) <= len(hant[1])  # which has Taiwan's words besides
