"""`sluice calibrate --from-feedback`, as typed, and a floor that its labels prove."""

import json
import random
import sqlite3
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from support import BOTH, catalogue, fleet, policy, sluice, wait_until

from router.labels import Given, Judged, Labels

GIVEN = Given(
    "req_0", "2026-01-05T12:00:00.000Z", "k1", True, None, None,
    "math", 0.5, "heavy", "en", 100, 0.9, "small", "one", True,
)  # fmt: skip
TICKET = "Classify this ticket as billing, technical or shipping: I was charged twice"


def state_with(tmp_path, count, keys=("k1",), **more):
    """Return a state folder with labels: math is hard for the small model, sentiment is not."""
    draw, state = random.Random(5), tmp_path / "state"
    store = Labels(state)
    for i in range(count):
        task = ["math", "sentiment"][i % 2]
        one = replace(
            GIVEN,
            request_id=f"req_{i}",
            key=keys[i % len(keys)],
            task=task,
            complexity=draw.choice([0.2, 0.8]),
            language=draw.choice(["en", "zh-Hans"]),
            acceptable=draw.random() < (0.2 if task == "math" else 0.97),
            **more,
        )
        store.add(one)
    store.close()
    return state


def calibrate(tmp_path, *arguments):
    return sluice("calibrate", "--out", tmp_path / "c.json", *arguments)


def found(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_feedback_becomes_a_calibration_that_tells_tasks_apart(tmp_path):
    state = state_with(tmp_path, 300, keys=("k1", "k2", "k3"))
    said = found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    assert (said["labels"], said["weight"], said["warnings"]) == (300, 300.0, [])
    assert said["orderings"]["calibrated"]["low"] > 0.6
    assert said["chosen"]["acceptable_low"] >= 0.85
    assert {task: row["counted"] for task, row in said["tasks"].items()} == {
        "math": 150,
        "sentiment": 150,
    }
    assert {key: row["labels"] for key, row in said["keys"].items()} == dict.fromkeys(
        ("k1", "k2", "k3"), 100
    )
    cells = [sum(row.values()) for row in said["confusion"].values()]
    assert sum(cells) == 300
    lines = tmp_path / "lines.jsonl"
    texts = ("Is this review positive or negative? The food was cold", "Solve 3x + 7 = 22 for x")
    lines.write_text("".join(json.dumps({"id": 1, "prompt": text}) + "\n" for text in texts))
    run = sluice("classify", lines, "--calibration", tmp_path / "c.json")
    review, equation = map(json.loads, run.stdout.splitlines())
    assert (review["task"], equation["task"]) == ("sentiment", "math")
    assert review["p_small"] > 0.8
    assert equation["p_small"] < 0.4


def test_the_text_shows_what_each_task_has_and_how_callers_called_it(tmp_path):
    state = state_with(tmp_path, 250, label="off.topic")
    run = calibrate(tmp_path, "--from-feedback", "--state", state)
    assert run.returncode == 0, run.stderr
    assert "counted" in run.stdout
    assert "as callers called them: off.topic 250 (" in run.stdout
    assert "all labels are of key `k1`: nobody else's stand beside them" in run.stderr


def test_a_file_and_feedback_go_together(tmp_path):
    state, lines = state_with(tmp_path, 100, keys=("k1", "k2")), tmp_path / "labels.jsonl"
    words = ("refund", "invoice", "theorem")
    rows = [{"id": i, "prompt": f"{words[i % 3]} {i}", "acceptable": i % 3 < 2} for i in range(60)]
    features = {"task": "code", "complexity": 0.5, "language": "zh-Hant", "tokens_in": 40}
    rows += [{"id": i, "features": features, "weak": 0.5, "strong": 1} for i in range(20)]
    lines.write_text("\n".join(map(json.dumps, rows)))
    said = found(calibrate(tmp_path, lines, "--from-feedback", "--state", state, "--json"))
    assert said["labels"] == 180
    assert said["tasks"]["code"] == {"labels": 20, "counted": 20, "acceptable": 10}
    assert set(said["languages"]) >= {"en", "zh-Hans", "zh-Hant"}
    kept = json.loads((tmp_path / "c.json").read_text())
    assert (kept["labels"], kept["curve"]["labels"]) == (60, 120)
    assert "refund" not in json.dumps(kept)


def test_labels_of_other_models_teach_nothing_of_p_small_and_are_told(tmp_path):
    state_with(tmp_path, 60)
    store = Labels(tmp_path / "state")
    for i in range(40):
        store.add(replace(GIVEN, request_id=f"other_{i}", by_p_small=False))
    store.close()
    state = tmp_path / "state"
    said = found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    assert said["labels"] == 60
    assert said["warnings"][0].startswith("40 labels of feedback are left out")


def test_a_key_that_floods_is_weighed_down_and_told(tmp_path):
    state = state_with(tmp_path, 60, keys=("k1", "k2"))
    store = Labels(state)
    for i in range(500):
        store.add(replace(GIVEN, request_id=f"flood_{i}", key="k3", acceptable=False))
    store.close()
    said = found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    assert said["keys"]["k3"] == {"labels": 500, "weight": pytest.approx(60)}
    assert said["tasks"]["math"]["labels"] == 530
    assert said["tasks"]["math"]["counted"] == 60
    assert any("key `k3` gave 500 of 560 labels, which count as 60" in w for w in said["warnings"])
    trusted = ("--from-feedback", "--state", state, "--key-share", "1", "--json")
    assert found(calibrate(tmp_path, *trusted))["weight"] == 560


JUDGED = Judged(
    "req_0", "2026-01-05T12:00:00.000Z", True, 0.9, True, 0.9,
    "math", 0.5, "heavy", "en", 100, 0.9, "small", "one", "large", "critic",
)  # fmt: skip


def with_judged(state, count, **more):
    store = Labels(state)
    for i in range(count):
        assert store.add_judged(replace(JUDGED, request_id=f"req_{i}", **more))
    store.close()


def test_labels_of_shadow_judging_count_beside_feedback_as_the_operators_own(tmp_path):
    state = state_with(tmp_path, 60, keys=("k1", "k2"))
    bad = {"acceptable": False, "score": 0.1, "strong_score": 0.8, "task": "code"}
    with_judged(state, 80, **bad)
    said = found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    assert (said["labels"], said["weight"]) == (140, 140.0)
    assert said["tasks"]["code"] == {"labels": 80, "counted": 80, "acceptable": 0}
    assert said["keys"].keys() == {"k1", "k2"}
    row = {"labels": 80, "acceptable": 0, "strong_acceptable": 80}
    store = Labels(state)
    agree = sum(not one.acceptable for one in store.all())
    store.close()
    assert said["judges"] == {"critic": {**row, "callers": 60, "agree": agree}}
    assert 0 < agree < 60
    assert "shadow judging: 80 labels by critic (0 acceptable; of the strong answers 80)" in (
        calibrate(tmp_path, "--from-feedback", "--state", state).stdout
    )


def test_labels_of_shadow_judging_alone_are_enough_and_no_key_bounds_them(tmp_path):
    state = tmp_path / "state"
    with_judged(state, 60)
    said = found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    assert (said["weight"], said["tasks"]["math"]["counted"]) == (60.0, 60)


def test_a_flood_of_one_key_does_not_weigh_down_what_the_judge_found(tmp_path):
    state = state_with(tmp_path, 500)
    with_judged(state, 60)
    said = found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    assert said["labels"] == 560
    assert said["weight"] == 560  # the only key there is has no bound, as ever
    store = Labels(state)
    store.add(replace(GIVEN, request_id="other", key="k2"))
    store.close()
    said = found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    assert said["keys"]["k1"]["weight"] == pytest.approx(61)


def test_an_answer_that_is_as_bad_as_the_strong_one_is_not_counted_as_acceptable(tmp_path):
    state = tmp_path / "state"
    with_judged(state, 60, acceptable=False, score=0.2, strong_acceptable=False, strong_score=0.2)
    said = found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    assert said["tasks"]["math"]["acceptable"] == 0
    assert "the strong model is not stronger" in " ".join(said["warnings"])


def test_labels_that_weigh_too_little_are_refused_with_the_reason(tmp_path):
    state = state_with(tmp_path, 200)
    store = Labels(state)
    store.add(replace(GIVEN, request_id="b", key="k2"))
    store.close()
    run = calibrate(tmp_path, "--from-feedback", "--state", state)
    assert run.returncode == 2
    assert "201 labels that weigh as 2 are too few to learn from: at least 50" in run.stderr
    assert "no key makes up more than 50% (`--key-share`)" in run.stderr
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ([], 3, "give LABELS, `--from-feedback`, or both"),
        (["--from-feedback", "--state", "nowhere"], 3, "nowhere: no feedback is kept there"),
        (["-", "--key-share", "0.4"], 3, "`--key-share` goes with `--from-feedback`"),
        (["-", "--state", "."], 3, "`--state` goes with `--from-feedback`"),
        (["-", "--plot", "x.gif"], 3, "a picture is .svg or .png"),
        (["-", "--policy", "/dev/null"], 3, "`--policy` goes with `--fleets`"),
    ],
)
def test_what_is_mistyped_is_told(tmp_path, typed, status, said):
    run = calibrate(tmp_path, *typed)
    assert (run.returncode, said in run.stderr) == (status, True), run.stderr


def test_a_store_without_labels_has_too_few(tmp_path):
    (tmp_path / "state").mkdir()
    sqlite3.connect(tmp_path / "state" / "sluice.db").close()
    run = calibrate(tmp_path, "--from-feedback", "--state", tmp_path / "state")
    assert run.returncode == 2
    assert f"{tmp_path / 'state'}: no labels are there" in run.stderr


FEATURES = {"task": "code", "complexity": 0.5, "language": "en", "tokens_in": 4}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"features": FEATURES}, "`weak` must be a number"),
        ({"features": FEATURES, "acceptable": 1}, "`acceptable` must be true or false"),
        ({"features": FEATURES, "acceptable": True, "weak": 1}, "either `acceptable`, or `weak`"),
        ({"features": FEATURES, "prompt": "x", "weak": 1}, '"prompt" or "messages" or "features"'),
        ({"features": {**FEATURES, "task": "SECRET"}}, "`features.task` is unknown (known: agent"),
        ({"features": {**FEATURES, "language": "de"}}, "`features.language` is unknown (known: en"),
        ({"features": {**FEATURES, "complexity": 2}}, "`features.complexity` must be a number"),
        ({"features": {**FEATURES, "tokens_in": -1}}, "`features.tokens_in` must be an integer"),
        ({"features": {**FEATURES, "tokens_in": 1.5}}, "`features.tokens_in` must be an integer"),
        ({"features": {"task": "code"}}, "`features` must be an object of `task`, `complexity`"),
        ({"features": {**FEATURES, "more": 1}}, "`features` must be an object of `task`"),
        ({"features": "SECRET"}, "`features` must be an object of `task`"),
    ],
)
def test_a_line_that_is_wrong_is_told(tmp_path, row, said):
    if "weak" not in row and "acceptable" not in row and row["features"] is not FEATURES:
        row = {**row, "acceptable": True}
    (tmp_path / "labels.jsonl").write_text(json.dumps({"id": 1, **row}))
    run = calibrate(tmp_path, tmp_path / "labels.jsonl")
    assert run.returncode == 3
    assert f"labels.jsonl:1: {said}" in run.stderr or said in run.stderr
    assert "SECRET" not in run.stderr


# -- the picture -----------------------------------------------------------------------------------


def test_the_picture_has_its_three_parts_and_the_chosen_floor(tmp_path, closed_port):
    state, svg = state_with(tmp_path, 300, keys=("k1", "k2")), tmp_path / "c.svg"
    typed = ("--from-feedback", "--state", state, "--plot", svg, "--json")
    said = found(calibrate(tmp_path, *typed))
    text = " ".join(ET.parse(svg).getroot().itertext())
    for part in (
        "Reliability",
        "p_small foretold",
        "share kept small",
        f"quality_floor {said['chosen']['threshold']:.4f}",
        "stays small, not acceptable",
        "zh-Hans (",
    ):
        assert part in text
    assert "cost over all" not in text
    png = tmp_path / "c.png"
    found(calibrate(tmp_path, *typed[:-2], png, "--json"))
    assert png.read_bytes()[:4] == b"\x89PNG"


def test_with_fleets_what_is_saved_is_in_money(tmp_path):
    state, svg = state_with(tmp_path, 300, keys=("k1", "k2")), tmp_path / "c.svg"
    url = "http://127.0.0.1:1/v1"
    big = fleet("big", url, lane="accelerator").replace("c8g.xlarge,", "p5.48xlarge,", 1)
    fleets = tmp_path / "fleets.yaml"
    fleets.write_text(catalogue(fleet("little", url), big))
    policy_file = tmp_path / "policy.yaml"
    policy_file.write_text(policy(BOTH, baseline="m@big"))
    typed = ("--from-feedback", "--state", state, "--plot", svg, "--fleets", fleets)
    said = found(calibrate(tmp_path, *typed, "--policy", policy_file, "--json"))
    cost = said["cost"]
    assert (cost["small"], cost["strong"]) == ("little", "big")
    assert len(cost["relative"]) == len(said["thresholds"])
    assert cost["relative"] == sorted(cost["relative"], reverse=True)
    assert 0 < cost["relative"][-1] < 0.01
    small = [row["small"] for row in said["thresholds"]]
    expected = [1 - share * (1 - cost["relative"][-1]) for share in small]
    assert cost["relative"] == pytest.approx(expected, abs=0.01)
    assert "cost over all on big" in " ".join(ET.parse(svg).getroot().itertext())
    assert cost["note"] is None
    shown = calibrate(tmp_path, *typed, "--policy", policy_file)
    assert "relative cost: little for what stays small, over everything on big" in shown.stdout
    assert "dearer" not in shown.stdout
    fleets.write_text(catalogue(fleet("one", url)))  # no small one beside the baseline
    policy_file.write_text(policy("cpu", baseline="m@one"))
    lacking = calibrate(tmp_path, *typed, "--policy", policy_file)
    assert lacking.returncode == 3
    assert "the rate card of a fleet whose quality is p_small is not known" in lacking.stderr


def test_a_small_lane_that_is_dearer_at_full_load_is_told(tmp_path):
    state, packaged = (
        state_with(tmp_path, 60),
        Path(__file__).parents[2] / "backends/data/fleets.yaml",
    )
    typed = ("--from-feedback", "--state", state, "--fleets", packaged)
    shown = calibrate(tmp_path, *typed)
    assert shown.returncode == 0, shown.stderr
    cost = found(calibrate(tmp_path, *typed, "--json"))["cost"]
    assert min(cost["relative"]) > 1
    said = f"{cost['small']} is dearer than {cost['strong']} at every threshold: a rate card takes"
    assert said in shown.stdout
    assert cost["note"].startswith(said)


# -- a floor with confidence -----------------------------------------------------------------------


def sure(at_least=0.7):
    floor = f"quality_floor: {{at_least: {at_least}, confidence: 0.95}}"
    return policy(BOTH, baseline="m@base").replace("quality_floor: 0", floor)


@pytest.fixture
def fleets(upstream):
    return catalogue(fleet("one", upstream.url), fleet("base", upstream.url, lane="accelerator"))


def refused(receipt):
    return {c["fleet"]: c["refused"] for c in receipt["candidates"] if c["refused"]}


def test_a_task_goes_to_the_small_model_once_feedback_has_proved_it(start_router, fleets, tmp_path):
    learning = start_router(fleets, policy(BOTH, baseline="m@base"))
    for i in range(60):
        asked = learning.chat(f"{TICKET} {i}")
        assert asked.headers["x-sluice-fleet"] == "one"
        name = asked.headers["x-sluice-request-id"]
        body = {"request_id": name, "acceptable": i % 20 > 0}
        assert learning.http.post("/v1/feedback", json=body).status_code == 200
    task = learning.receipt(asked)["facts"]["task"]

    before = start_router(fleets, sure())
    response = before.chat(TICKET)
    assert response.headers["x-sluice-fleet"] == "base"
    reason = refused(before.receipt(response))["one"]
    assert reason["code"] == "quality_unproved"
    assert reason["detail"].startswith(f"task `{task}`: no labels, 0.7 asked for with 0.95")
    assert "`--calibration` takes what `sluice calibrate` wrote" in before.log()

    out = tmp_path / "c.json"
    said = found(calibrate(tmp_path, "--from-feedback", "--state", learning.state, "--json"))
    assert said["tasks"][task] == {"labels": 60, "counted": 60, "acceptable": 57}
    after = start_router(fleets, sure(), "--calibration", out)
    response = after.chat(TICKET)
    assert response.headers["x-sluice-fleet"] == "one"
    facts = after.receipt(response)["facts"]
    assert (facts["labels"], facts["labels_acceptable"]) == (60, 57)
    other = after.chat("Prove that there are infinitely many primes congruent to 3 mod 4")
    assert other.headers["x-sluice-fleet"] == "base"

    receipts = next((after.state / "receipts").iterdir())
    again = sluice("route", "--receipt", receipts, "--state", after.state)
    assert again.returncode == 0, again.stderr
    assert "every byte of the decision agrees" in again.stderr
    shown = sluice(
        "route", TICKET, "--calibration", out, "--state", after.state, "--json",
        "--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml",
    )  # fmt: skip
    assert json.loads(shown.stdout)["plan"][0] == "one"


def test_where_nothing_else_may_serve_the_caller_is_told_how_many_labels_are_lacking(
    start_router, fleets
):
    text = sure().replace("use: {in_order: [cpu, accelerator]}", "use: cpu")
    response = start_router(fleets, text).chat(TICKET)
    assert response.status_code == 403
    error = response.json()["error"]
    assert error["code"] == "policy_refused"
    assert "7 would do if all are acceptable" in error["message"]


def test_relaxing_the_floor_serves_without_proof(start_router, fleets):
    text = sure().replace("use: {in_order: [cpu, accelerator]}", "use: cpu, relax: quality_floor")
    router = start_router(fleets, text)
    response = router.chat(TICKET)
    assert response.status_code == 200
    marks = router.receipt(response)["candidates"][0]["marks"]
    assert "relaxed:quality_floor" in marks


def test_a_policy_that_asks_for_labels_later_is_warned_of_when_it_is_adopted(
    start_router, fleets, tmp_path
):
    router = start_router(fleets, policy(BOTH, baseline="m@base"))
    assert "confidence" not in router.log()
    (tmp_path / "policy.yaml").write_text(sure())
    wait_until(lambda: "has a quality_floor with confidence" in router.log())


def test_doctor_and_policy_check_warn_without_labels(fleets, tmp_path):
    (tmp_path / "fleets.yaml").write_text(fleets)
    (tmp_path / "policy.yaml").write_text(sure())
    state = state_with(tmp_path, 60)
    out = tmp_path / "c.json"
    found(calibrate(tmp_path, "--from-feedback", "--state", state, "--json"))
    named = ("--fleets", tmp_path / "fleets.yaml", "--state", state)
    for more, warned in ((), True), (("--calibration", out), False):
        checked = sluice("policy", "check", tmp_path / "policy.yaml", *named, *more)
        assert checked.returncode == 0, checked.stderr
        said = "policy.yaml:4: defaults.quality_floor.confidence: without labels"
        assert (said in checked.stderr) is warned
        doctor = sluice("doctor", *named, "--policy", tmp_path / "policy.yaml", *more)
        assert ("labels: policy test has a quality_floor with" in doctor.stdout) is warned
