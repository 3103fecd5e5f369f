"""How well each classifier tells simple from heavy, on requests of our own writing.

`parity.jsonl`: the same request in three languages; `requests.jsonl`: many kinds in two. The
classifier that ships has learnt from both, so these are gates against mistakes in what reads and
judges, not a measure of how well unseen requests are judged (that is in docs/model-card.md).
That a gate can fail is shown below: by one that learnt from labels in disorder.
"""

import json
import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from router.classify import CLASSIFIERS, judge_by
from router.classify.artefact import packaged
from router.classify.trained import trained
from router.features import read
from tools.train_judge import data
from tools.train_judge.heads import Complexity, with_traditional

DATA = Path(__file__).parents[2] / "data"
LANGUAGES = ("en", "zh-Hans", "zh-Hant")

HEAVY_TO_SMALL_MAX = 0.10
SIMPLE_TO_SMALL_MIN = 0.60
SAME_TIER_MIN = 0.95
AUC_MIN = 0.9


def lines(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


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


def missed(judge):
    """Return which gates a classifier doesn't pass."""
    found = []
    for language in LANGUAGES:
        simple, heavy = (
            [row["messages"][language] for row in lines("parity.jsonl") if row["tier"] == tier]
            for tier in ("simple", "heavy")
        )
        if share_to_small(judge, heavy) > HEAVY_TO_SMALL_MAX:
            found.append(f"{language}: heavy requests go to the small model")
        if share_to_small(judge, simple) < SIMPLE_TO_SMALL_MIN:
            found.append(f"{language}: simple requests don't stay on the small model")
        if auc(judge, simple, heavy) < AUC_MIN:
            found.append(f"{language}: heavy requests are not told from simple ones")
    rows = lines("parity.jsonl")
    same = sum(len(set(tiers(judge, row["messages"].values()))) == 1 for row in rows)
    if same / len(rows) < SAME_TIER_MIN:
        found.append("versions of a request get different tiers")
    return found


def test_few_heavy_requests_go_to_the_small_model_and_most_simple_ones_do(judge):
    assert missed(judge) == []


def learnt_from(examples):
    head = Complexity(examples)
    artefact = packaged()._replace(
        bias=head.bias, complexity=head.signals, words=with_traditional(head.words)
    )
    return trained(artefact)


def test_a_classifier_that_learnt_from_labels_in_disorder_fails():
    examples = data.parity()
    labels = [example.heavy for example in examples]
    random.Random(1).shuffle(labels)
    disordered = [replace(e, heavy=label) for e, label in zip(examples, labels, strict=True)]

    right, wrong = missed(learnt_from(examples)), missed(learnt_from(disordered))
    for language in LANGUAGES:
        told = f"{language}: heavy requests are not told from simple ones"
        assert told not in right
        assert told in wrong


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
