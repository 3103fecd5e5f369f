"""`sluice calibrate`, as typed, and what a router makes of it."""

import json
import random
import re

import pytest
from support import catalogue, fleet, policy, sluice


def written(path, count):
    draw = random.Random(3)
    rows = []
    for i in range(count):
        hard = i % 2
        prompt = f"{'快递' if hard else 'refund'} {draw.choice('abc')} {i}"
        weak = float(draw.random() < (0.2 if hard else 0.95))
        rows.append({"id": i, "prompt": prompt, "weak": weak, "strong": 1.0})
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")
    return path


def test_labels_become_a_calibration_that_classify_route_and_serve_apply(
    tmp_path, start_router, upstream
):
    labels, out = written(tmp_path / "labels.jsonl", 240), tmp_path / "calibration.json"
    run = sluice("calibrate", labels, "--out", out, "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["labels"] == 240
    assert found["orderings"]["calibrated"]["low"] > 0.6
    assert found["orderings"]["random"]["apgr"] == pytest.approx(0.5)
    assert found["orderings"]["oracle"]["apgr"] > found["orderings"]["calibrated"]["apgr"]
    assert found["chosen"]["acceptable_sure"] >= 0.85
    (warning,) = found["warnings"]  # these short questions in Chinese are the hard ones
    assert "gains least where requests look hard" in warning
    assert sum(row["labels"] for row in found["languages"].values()) == 240
    assert "refund" not in out.read_text()  # hashes, no words

    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"id": 1, "prompt": "refund a"}\n{"id": 2, "prompt": "快递 a"}\n')
    plain, learnt = (
        [json.loads(line)["p_small"] for line in sluice("classify", lines, *more).stdout.split()]
        for more in ((), ("--calibration", out))
    )
    assert plain != learnt
    assert learnt[0] > 0.8
    assert learnt[1] < 0.5

    shown = sluice("route", "refund a", "--calibration", out, "--json", "--state", tmp_path)
    assert json.loads(shown.stdout)["facts"]["p_small"] == learnt[0]

    text = catalogue(fleet("one", upstream.url))
    router = start_router(text, policy(), "--calibration", out)
    body = {"model": "auto", "messages": [{"role": "user", "content": "快递 a"}]}
    receipt = router.http.post("/v1/route", json=body).json()
    assert receipt["facts"]["p_small"] == learnt[1]


def test_the_text_shows_the_ordering_beside_random_length_and_oracle(tmp_path):
    labels = written(tmp_path / "labels.jsonl", 120)
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json", "--quality-floor", "0.5")
    assert run.returncode == 0, run.stderr
    for word in ("calibrated", "complexity", "length", "random", "oracle", "quality_floor: "):
        assert word in run.stdout
    assert "120 labels are few" in run.stderr
    strict = sluice("calibrate", labels, "--out", tmp_path / "c.json", "--quality-floor", "1")
    assert "no threshold keeps 100% acceptable" in strict.stdout


def rows_into(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def tossed(seed, *, features):
    draw = random.Random(seed)
    words, tasks = ["ab", "cd", "ef", "gh", "ij", "kl", "mn", "op"], ["math", "code"]
    for i in range(400):
        text = {"prompt": " ".join([*draw.choices(words, k=5), str(i)])}
        seen = {"complexity": draw.random(), "language": "en", "tokens_in": draw.randrange(900)}
        asked = {"features": {"task": draw.choice(tasks), **seen}} if features else text
        yield {"id": i, **asked, "weak": float(draw.random() < 0.5), "strong": 1}


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_labels_of_noise_teach_the_level_and_the_counts_alone(tmp_path, seed, features):
    labels = rows_into(tmp_path / "labels.jsonl", tossed(seed, features=features))
    out = tmp_path / "c.json"
    run = sluice("calibrate", labels, "--out", out, "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    good = sum(row["acceptable"] for row in said["tasks"].values())
    assert said["level"] == round((good + 1) / 402, 4)
    (warning,) = said["warnings"]
    assert warning.startswith("which of these 400 labels are acceptable is foretold no better than")
    assert f"p_small is the same for all, {said['level']:.4f}" in warning
    shown = sluice("route", "refund a", "--calibration", out, "--json", "--state", tmp_path)
    assert json.loads(shown.stdout)["facts"]["p_small"] == said["level"]


def test_labels_that_are_all_bad_say_so_of_everything(tmp_path):
    rows = [{"id": i, "prompt": f"q {i}", "weak": 0, "strong": 1} for i in range(400)]
    labels = rows_into(tmp_path / "labels.jsonl", rows)
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert run.returncode == 0, run.stderr
    assert "warning: all labels are not acceptable: nothing is learnt of which" in run.stderr
    assert "p_small is the same for all, 0.0025" in run.stderr
    assert "no threshold keeps 85% acceptable" in run.stdout
    assert re.search(r"^ +0\.003 +100\.0% +0\.0% +0\.0% +0\.000$", run.stdout, re.MULTILINE)


def test_labels_that_are_all_good_promise_no_more_than_they_bear_out(tmp_path):
    rows = [{"id": i, "prompt": f"q {i}", "acceptable": True} for i in range(60)]
    labels, out = rows_into(tmp_path / "labels.jsonl", rows), tmp_path / "c.json"
    run = sluice("calibrate", labels, "--out", out)
    assert run.returncode == 0, run.stderr
    assert "warning: all labels are acceptable: nothing is learnt of which" in run.stderr
    floor = f"{61 / 62:.4f}"
    assert f"`quality_floor: {floor}` keeps 100%" in run.stdout
    shown = sluice("route", "Prove it", "--calibration", out, "--json", "--state", tmp_path)
    assert json.loads(shown.stdout)["facts"]["p_small"] == float(floor)


def test_labels_turned_round_are_told(tmp_path):
    """Long, complex questions are where the small model does well: mostly a mistake."""
    rows = [
        {"id": i, "prompt": f"Prove {i} " * 40 if i % 2 else f"Hi {i}", "acceptable": bool(i % 2)}
        for i in range(200)
    ]
    labels = rows_into(tmp_path / "labels.jsonl", rows)
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert "the strong model gains least where requests look hard (APGR 0." in run.stderr
    assert "by length, at most 0." in run.stderr
    assert "are `weak` and `strong` swapped" in run.stderr
    swapped = [{"id": i, "prompt": f"q {i}", "weak": 1, "strong": i % 2} for i in range(60)]
    again = sluice("calibrate", rows_into(labels, swapped), "--out", tmp_path / "c.json")
    assert "nothing to order by; are `weak` and `strong` swapped?" in again.stderr


def test_labels_that_the_strong_model_never_answers_are_refused(tmp_path):
    rows = [{"id": i, "prompt": f"p {i}", "weak": i % 2, "strong": 0} for i in range(60)]
    labels = tmp_path / "labels.jsonl"
    labels.write_text("\n".join(map(json.dumps, rows)))
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert run.returncode == 2
    assert "the strong model answered none of these" in run.stderr


def test_doubled_lines_and_repeated_texts_are_told_and_count_once(tmp_path):
    labels = written(tmp_path / "labels.jsonl", 60)
    first = json.loads(labels.read_text().splitlines()[0])
    again = [first, first, {**first, "id": "other"}, {**first, "id": None}]
    labels.write_text(labels.read_text() + "\n".join(map(json.dumps, again)))
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json", "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert (
        "2 lines bear id and text of an earlier one: doubled lines count once" in (said["warnings"])
    )
    assert any(w.startswith("2 labels repeat the text of another: ") for w in said["warnings"])
    assert said["labels"] == sum(row["counted"] for row in said["tasks"].values()) == 60


def copied(path, texts):
    """Write a label for each (text, copies, acceptable)."""
    rows = [
        {"id": f"{i}-{copy}", "prompt": text, "acceptable": good}
        for i, (text, copies, good) in enumerate(texts)
        for copy in range(copies)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


ONE = "Is this review positive or negative: the food was cold"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            [(ONE, 40, True), *((f"other {i}", 1, i % 2 == 0) for i in range(15))],
            "16 labels (55 lines, but copies of a text count as one label) are too few",
        ),
        ([(ONE, 60, True)], "1 label (60 lines, but copies of a text count as one label) is too"),
        ([(f"t {i}", 10, i % 3 > 0) for i in range(40)], "40 labels (400 lines, but"),
    ],
)
def test_copies_of_few_texts_are_too_few(tmp_path, texts, said):
    labels = copied(tmp_path / "labels.jsonl", texts)
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert run.returncode == 2
    assert said in run.stderr
    assert not (tmp_path / "c.json").exists()


def test_copies_beside_enough_texts_prove_no_more_than_one_label(tmp_path):
    others = [(f"Is this review positive or negative: {i}", 1, i % 4 > 0) for i in range(80)]
    labels = copied(tmp_path / "labels.jsonl", [(ONE, 200, True), *others])
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json", "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["tasks"]["sentiment"] == {"labels": 81, "counted": 81, "acceptable": 61}
    assert "81 labels are few: a few hundred make the intervals useful" in said["warnings"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    labels = written(tmp_path / "labels.jsonl", 60)
    run = sluice("calibrate", labels, "--out", tmp_path / "deep" / "c.json")
    assert run.returncode == 3
    assert f"{tmp_path / 'deep'}: no such folder" in run.stderr


def _named(labels, how):
    """Return another name of the labels."""
    other = labels.parent / "other.json"
    if how == "symlink":
        other.symlink_to(labels)
    elif how == "hard link":
        other.hardlink_to(labels)
    else:
        (labels.parent / "sub").mkdir()
        other = {"itself": labels, "spelling": labels.parent / "sub" / ".." / labels.name}[how]
    return other


@pytest.mark.parametrize("how", ["itself", "spelling", "symlink", "hard link"])
def test_labels_are_never_overwritten(tmp_path, how):
    labels = written(tmp_path / "labels.svg", 60)
    before, other = labels.read_text(), _named(labels, how)
    run = sluice("calibrate", labels, "--out", other)
    assert run.returncode == 3
    assert "is read as well: write to another file" in run.stderr
    drawn = sluice("calibrate", labels, "--out", tmp_path / "c.json", "--plot", labels)
    assert drawn.returncode == 3
    assert f"{labels} is read as well" in drawn.stderr
    with labels.open() as stream:
        piped = sluice("calibrate", "-", "--out", other, stdin=stream)
    assert piped.returncode == 3
    assert "is -, which is read as well" in piped.stderr
    assert labels.read_text() == before
    assert not (tmp_path / "c.json").exists()


def test_the_picture_is_not_drawn_over_the_calibration(tmp_path):
    labels, out = written(tmp_path / "labels.jsonl", 60), tmp_path / "c.svg"
    (tmp_path / "sub").mkdir()
    run = sluice("calibrate", labels, "--out", out, "--plot", tmp_path / "sub" / ".." / "c.svg")
    assert run.returncode == 3
    assert f"is {out}, which is written as well" in run.stderr
    assert not out.exists()


@pytest.mark.parametrize("share", ["nan", "inf", "-1", "2", "x"])
@pytest.mark.parametrize("option", ["--quality-floor", "--key-share"])
def test_a_share_that_is_none_is_refused(tmp_path, option, share):
    labels = written(tmp_path / "labels.jsonl", 60)
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json", option, share)
    assert run.returncode == 3
    assert f"'{option}': " in run.stderr
    assert share in run.stderr
    assert not (tmp_path / "c.json").exists()


def test_a_byte_order_mark_at_the_start_is_taken_off(tmp_path):
    labels = written(tmp_path / "labels.jsonl", 60)
    labels.write_bytes(b"\xef\xbb\xbf" + labels.read_bytes())
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert run.returncode == 0, run.stderr


def test_a_file_without_labels_is_told_to_hold_none(tmp_path):
    labels = tmp_path / "labels.jsonl"
    labels.write_text("\n\n")
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert run.returncode == 2
    assert f"{labels}: no labels are there" in run.stderr
    with labels.open() as stream:
        piped = sluice("calibrate", "-", "--out", tmp_path / "c.json", stdin=stream)
    assert "standard input: no labels are there" in piped.stderr
    one = sluice("calibrate", written(labels, 1), "--out", tmp_path / "c.json")
    assert "1 label is too few to learn from: at least 50" in one.stderr


def test_ids_that_stand_for_several_texts_are_told(tmp_path):
    labels = written(tmp_path / "labels.jsonl", 60)
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    rows[1]["id"] = rows[2]["id"] = rows[0]["id"]
    rows[3].pop("id")
    rows[4].pop("id")
    labels.write_text("\n".join(map(json.dumps, rows)))
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert "warning: 1 id stands on lines of different texts" in run.stderr


def test_too_few_labels_are_refused(tmp_path):
    run = sluice("calibrate", written(tmp_path / "l", 49), "--out", tmp_path / "c.json")
    assert run.returncode == 2
    assert "49 labels are too few to learn from: at least 50" in run.stderr
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ('{"id": 1, "weak": 1, "strong": 1}', 'either "prompt" or "messages"'),
        ('{"id": 1, "prompt": "SECRET", "weak": 1}', "`strong` must be a number from 0 to 1"),
        ('{"id": 1, "prompt": "SECRET", "weak": 2, "strong": 1}', "`weak` must be a number"),
        ('{"id": 1, "prompt": "SECRET", "weak": true, "strong": 1}', "`weak` must be a number"),
        ('{"id": 1, "prompt": "SECRET", "weak": NaN, "strong": 1}', "JSON doesn't know"),
        pytest.param(
            '{"prompt": "SECRET", "x": ' + "[" * 9_999 + "]" * 9_999 + "}",
            "nested too deeply",
            id="deep",
        ),
        ('{"id": 1, "prompt": 7, "weak": 1, "strong": 1}', "`prompt` must be a text"),
    ],
)
def test_a_label_that_is_wrong_is_told_with_its_line_and_nothing_is_learnt(tmp_path, line, said):
    labels = written(tmp_path / "labels.jsonl", 60)
    labels.write_text(labels.read_text() + line + "\n")
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert run.returncode == 3
    assert f"{labels}:61: " in run.stderr
    assert said in run.stderr
    assert "SECRET" not in run.stderr
    assert not (tmp_path / "c.json").exists()


def test_a_strong_model_that_is_not_stronger_is_told(tmp_path):
    labels = tmp_path / "labels.jsonl"
    rows = [{"id": i, "prompt": f"p {i}", "weak": 1, "strong": 1} for i in range(60)]
    labels.write_text("\n".join(map(json.dumps, rows)))
    run = sluice("calibrate", labels, "--out", tmp_path / "c.json")
    assert run.returncode == 0, run.stderr
    assert "not stronger on these labels" in run.stderr
    assert "unknown" in run.stdout


def test_a_file_that_is_no_calibration_is_told(tmp_path):
    wrong = tmp_path / "c.json"
    for text in ("{", "[]", '{"version": 9}'):
        wrong.write_text(text)
        run = sluice("route", "hi", "--calibration", wrong, "--state", tmp_path)
        assert run.returncode == 3
        assert str(wrong) in run.stderr
