"""How well each classifier tells simple from heavy, on requests of our own writing.

`parity.jsonl`: the same request in three languages; the even half was seen while the weights were
fitted, the odd half was not (a dozen phrases of the lexicon come from both). `requests.jsonl`: what
the weights were fitted on, among other things.
The targets: few heavy requests on the small model, in every language.
"""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from router.classify import CLASSIFIERS, judge_by
from router.features import read

DATA = Path(__file__).parents[2] / "data"
LANGUAGES = ("en", "zh-Hans", "zh-Hant")

HEAVY_TO_SMALL_MAX = 0.10
SIMPLE_TO_SMALL_MIN = 0.60
SAME_TIER_MIN = 0.93


def lines(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def half(name):
    wanted = {"even": 0, "odd": 1}[name]
    return [row for row in lines("parity.jsonl") if int(row["id"].removeprefix("p-")) % 2 == wanted]


def tiers(judge, conversations):
    return [judge(read({"messages": messages})).tier for messages in conversations]


def share_to_small(judge, conversations):
    given = tiers(judge, conversations)
    return given.count("simple") / len(given)


def auc(judge, simple, heavy):
    """Return how often a heavy request is judged more complex than a simple one."""
    low = [judge(read({"messages": messages})).complexity for messages in simple]
    high = [judge(read({"messages": messages})).complexity for messages in heavy]
    return sum((h > s) + (h == s) / 2 for h in high for s in low) / (len(high) * len(low))


@pytest.fixture(params=sorted(CLASSIFIERS))
def judge(request):
    return judge_by(request.param)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["even", "odd"])
def test_few_heavy_requests_go_to_the_small_model_and_most_simple_ones_do(judge, name, language):
    rows = half(name)
    simple = [row["messages"][language] for row in rows if row["tier"] == "simple"]
    heavy = [row["messages"][language] for row in rows if row["tier"] == "heavy"]

    assert share_to_small(judge, heavy) <= HEAVY_TO_SMALL_MAX
    assert share_to_small(judge, simple) >= SIMPLE_TO_SMALL_MIN
    assert auc(judge, simple, heavy) > 0.85


@pytest.mark.parametrize("name", ["even", "odd"])
def test_a_request_has_the_same_tier_in_every_language(judge, name):
    rows = half(name)
    same = sum(len(set(tiers(judge, row["messages"].values()))) == 1 for row in rows)

    assert same / len(rows) >= SAME_TIER_MIN


@pytest.mark.parametrize("language", ["en", "zh"])
def test_our_own_requests_go_the_right_way(judge, language):
    by_tier = defaultdict(list)
    for row in lines("requests.jsonl"):
        if row["lang"] == language:
            by_tier[row["tier"]].append(row["messages"])

    assert share_to_small(judge, by_tier["heavy"]) <= HEAVY_TO_SMALL_MAX
    assert share_to_small(judge, by_tier["simple"]) >= SIMPLE_TO_SMALL_MIN


def test_most_tasks_are_named_right(judge):
    rows = lines("requests.jsonl")
    right = sum(judge(read({"messages": row["messages"]})).task == row["task"] for row in rows)

    assert right / len(rows) > 0.7
