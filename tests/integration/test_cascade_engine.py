"""A cascade before the real engine: its confidence tells what it knows from what it doesn't."""

import json
from collections import Counter

import openai
import pytest
from support import policy, wait_until

from backends.engines import tiny_model

pytestmark = pytest.mark.engine

LABELLED = [
    json.loads(line)
    for line in tiny_model().with_name("labelled.jsonl").read_text("utf-8").splitlines()
]
LANGUAGES = {"en", "zh-Hans", "zh-Hant"}
RULES = """\
  - id: labels
    cascade:
      try: cpu
      accept_if: {mean_logprob_above: -0.15, tokens: {below: 20}}
      then: accelerator
"""
JSON_RULES = RULES.replace("mean_logprob_above: -0.15", "schema_valid: true")


@pytest.fixture
def cascade(start_router, tiny, emulator):
    """Start a router over the real engine and an emulated accelerator; return it and its SDK."""
    clients = []

    def start(rules):
        fleets = f"""\
version: 1
models:
  - {{id: qwen3-tiny, context_tokens: 2048, abilities: [json, logprobs]}}
  - {{id: llama-4-scout, context_tokens: 100000, abilities: [json]}}
fleets:
  - {{id: tiny, model: qwen3-tiny, lane: cpu, engine: llama.cpp, kind: openai_http, url: "{tiny}",
     instance: c8g.xlarge, region: us-east-1, profile: c8g.xlarge/qwen3-0.6b,
     replicas: {{min: 1, max: 1, concurrency_each: 2}}}}
  - {{id: p5-scout, model: llama-4-scout, lane: accelerator, engine: emulated, kind: emulated,
     url: "{emulator}/p5-scout/v1", instance: p5.48xlarge, region: us-east-1,
     profile: p5.48xlarge/llama-4-scout, replicas: {{min: 1, max: 1, concurrency_each: 8}}}}
"""
        router = start_router(fleets, policy(rules=rules, baseline="llama-4-scout@p5-scout"))
        client = openai.OpenAI(base_url=f"{router.url}/v1", api_key=router.key, max_retries=0)
        clients.append(client)
        return router, client

    yield start
    for client in clients:
        client.close()


def asked(client, messages, *, stream, **more):
    """Return the fleet that answered, what it said, and what was said of log probabilities."""
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=messages, temperature=0, max_tokens=32, stream=stream, **more
    )
    fleet, answer = raw.headers["x-sluice-fleet"], raw.parse()
    if not stream:
        (choice,) = answer.choices
        return fleet, choice.message.content, [choice.logprobs]
    choices = [chunk.choices[0] for chunk in answer if chunk.choices]
    assert choices[-1].finish_reason is not None
    text = "".join(choice.delta.content or "" for choice in choices)
    return fleet, text, [choice.logprobs for choice in choices]


def test_what_the_small_model_is_sure_of_is_right_far_more_often(cascade, tiny):
    _, client = cascade(RULES)
    engine = openai.OpenAI(base_url=tiny, api_key="none", max_retries=0)
    seen, kept = Counter(), Counter()
    for prompt in LABELLED:
        messages = prompt["messages"]
        own = engine.chat.completions.create(
            model="qwen3-tiny", messages=messages, temperature=0, max_tokens=32
        )
        own_text = own.choices[0].message.content
        who = (prompt["language"], own_text == prompt["label"])
        plain = asked(client, messages, stream=False)
        streamed = asked(client, messages, stream=True)
        assert plain[0] == streamed[0]  # both are judged alike
        assert {*plain[2], *streamed[2]} == {None}  # nobody asked for log probabilities
        if plain[0] == "tiny":
            assert plain[1] == streamed[1] == own_text
        else:
            assert {mark in plain[1] for mark in ("[emulated", "[模拟", "[模擬")} == {True, False}
        seen[who] += 1
        kept[who] += plain[0] == "tiny"
    engine.close()
    assert {language for language, _ in seen} == LANGUAGES
    for language in LANGUAGES:
        assert kept[language, True] >= 0.8 * seen[language, True], (seen, kept)
    wrong, wrong_kept = (sum(n[language, False] for language in LANGUAGES) for n in (seen, kept))
    assert wrong_kept / kept.total() < 0.65 * wrong / len(LABELLED), (seen, kept)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("question", "label", "poem"),
    [
        (
            "Classify this ticket as billing, technical or shipping, in JSON: I was charged twice",
            "billing",
            "Write me a poem about the sea",
        ),
        (
            "为下面的工单分类，以 JSON 回答：我的订单被重复扣款了",
            "账单",
            "帮我写一首关于大海的诗",
        ),
        (
            "為下面的工單分類，以 JSON 回答：我的訂單被重複扣款了",
            "帳單",
            "幫我寫一首關於大海的詩",
        ),
    ],
    ids=["en", "zh-Hans", "zh-Hant"],
)
def test_json_of_the_callers_schema_is_kept_and_what_is_none_is_asked_again(
    cascade, question, label, poem, stream
):
    router, client = cascade(JSON_RULES)
    shape = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": shape}}
    user = [{"role": "user", "content": question}]
    fleet, text, _ = asked(client, user, stream=stream, response_format=wanted)
    assert (fleet, json.loads(text)) == ("tiny", {"label": label})
    fleet, _, _ = asked(client, [{"role": "user", "content": poem}], stream=stream)
    assert fleet == "p5-scout"
    wait_until(lambda: len(router.receipts()) == 2)
    first = router.receipts()[1]["attempts"][0]
    assert (first["outcome"], first["test"]) == ("not_accepted", "schema_valid")
    assert first["usd"] > 0
