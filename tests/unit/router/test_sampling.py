"""Which answers are drawn, and with which facts they are asked again."""

from dataclasses import replace
from types import SimpleNamespace

import orjson
import pytest

from policies.model import Facts
from router.sampling import asked_again, can_be_judged, drawn, facts_again, fits
from router.wire import parse_chat

FACTS = Facts(
    at="2026-01-05T12:00:00.000Z", tenant="acme", team="search", key="k1", tags={"data": "private"},
    task="math", tier="heavy", complexity=0.5, p_small=0.5, language="en", tokens_in=10,
    tokens_out=10, tokens_in_bound=70, needs=("json", "logprobs"), requested_model="auto:best",
    max_usd=0.1, slo_ttft_ms=300.0, may=("best",), lanes=("cpu",), models=("m",),
)  # fmt: skip
TEXTS = [{"type": "text", "text": "hi"}]


def chat(**body):
    messages = [{"role": "user", "content": "hi"}]
    return parse_chat(orjson.dumps({"model": "auto", "messages": messages, **body}))


def attempt(*, by_p_small=True, emulated=False, accept_if=()):
    fleet = SimpleNamespace(emulated=emulated)
    candidate = SimpleNamespace(by_p_small=by_p_small, on=SimpleNamespace(fleet=fleet))
    return SimpleNamespace(candidate=candidate, accept_if=accept_if)


def decision(*attempts, facts=FACTS):
    return SimpleNamespace(plan=SimpleNamespace(attempts=attempts or (attempt(),)), facts=facts)


# -- the draw --------------------------------------------------------------------------------------


def test_the_share_that_is_drawn_is_the_share_that_was_asked_for():
    ids = [f"req_{i:012x}{i * 7919 % 2**48:012x}" for i in range(50_000)]
    for share in (0.0, 0.01, 0.2, 1.0):
        found = sum(drawn(name, "share") < share for name in ids) / len(ids)
        assert found == pytest.approx(share, abs=0.004)


def test_who_is_drawn_with_a_share_is_drawn_with_every_larger_one():
    assert drawn("req_1", "share") == drawn("req_1", "share")
    assert all(0 <= drawn(f"req_{i}", "share") < 1 for i in range(1000))
    assert drawn("req_1", "share") != drawn("req_1", "order")


# -- what can be judged ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"n": 1, "tools": [], "logprobs": True, "response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": TEXTS}]},
        {
            "messages": [
                {"role": "system", "content": "x"},
                {"role": "assistant", "content": "y"},
                {"role": "user", "content": "z"},
            ]
        },
    ],
)
def test_a_text_for_a_text_can_be_judged(body):
    assert can_be_judged(chat(**body), decision())


@pytest.mark.parametrize(
    "body",
    [
        {"n": 2},
        {"tools": [{"type": "function"}]},
        {"functions": [{}]},
        {"modalities": ["audio"]},
        {"audio": {"voice": "x"}},
        {"messages": [{"role": "tool", "content": "7"}]},
        {"messages": [{"role": "assistant", "content": None}, {"role": "user", "content": "x"}]},
        {
            "messages": [
                {"role": "assistant", "content": "x", "tool_calls": [{}]},
                {"role": "user", "content": "x"},
            ]
        },
        {
            "messages": [
                {"role": "assistant", "content": "x", "function_call": {"name": "f"}},
                {"role": "user", "content": "x"},
            ]
        },
        {"messages": [{"role": "user", "content": [*TEXTS, {"type": "input_audio"}]}]},
    ],
)
def test_anything_else_cannot(body):
    assert not can_be_judged(chat(**body), decision())


def test_only_answers_that_a_small_model_gives_untested_can_be_judged():
    assert can_be_judged(chat(), decision(attempt(by_p_small=False), attempt()))
    assert not can_be_judged(chat(), decision(attempt(by_p_small=False)))
    assert not can_be_judged(chat(), decision(attempt(emulated=True)))
    assert not can_be_judged(chat(), decision(attempt(accept_if=("test",)), attempt()))
    assert not can_be_judged(chat(), decision(facts=replace(FACTS, needs=("vision",))))


def test_what_is_too_long_or_cannot_be_written_again_is_not_kept():
    assert fits(chat(), decision())
    assert not fits(chat(), decision(facts=replace(FACTS, tokens_in_bound=65_537)))
    assert not fits(chat(metadata={"x": "y" * 65_536}), decision())
    assert not fits(replace(chat(), body={"x": 2**64}), decision())


# -- asking again ----------------------------------------------------------------------------------


def test_it_is_asked_again_as_it_was_but_plain():
    request = chat(stream=True, stream_options={}, logprobs=True, top_logprobs=2, seed=7, top_k=3)
    again = asked_again(request)
    assert again.body == {
        "model": "auto",
        "messages": [{"role": "user", "content": "hi"}],
        "seed": 7,
        "top_k": 3,
    }
    assert (again.stream, again.usage_asked) == (False, False)
    assert "stream" in request.body


def test_the_facts_are_ours_but_for_what_limits_where_the_request_may_go():
    facts = facts_again(FACTS, "req_1", "judge", "2026-01-06T00:00:00.000Z")
    assert (facts.tenant, facts.key, facts.team) == ("sluice-shadow", "sluice-shadow", None)
    assert facts.tags == {"shadow": "judge", "request": "req_1"}
    assert (facts.lanes, facts.models) == (("cpu",), ("m",))
    assert (facts.max_usd, facts.slo_ttft_ms, facts.may) == (None, None, ())
    assert (facts.requested_model, facts.needs) == ("auto", ("json",))
    assert (facts.at, facts.task, facts.p_small) == ("2026-01-06T00:00:00.000Z", "math", 0.5)
