"""Profiles that are merged and written: nothing is lost, and guesses give way."""

import pytest

import yamlfile
from backends.importers.measurement import BenchmarkReport, Measurement, Percentiles
from backends.profile_file import Conflict, default_path, merged, put, put_all, row_of, rows_in

OLD = {
    "id": "box/m",
    "model": "m",
    "instance": "box",
    "source": "then",
    "date": "2025-01-01",
    "mark": "measured",
    "points": [{"concurrency": 1, "tok_s": 10}, {"concurrency": 4, "tok_s": 20}],
}
NEW = {**OLD, "source": "now", "points": [{"concurrency": 4, "tok_s": 25}]}


def test_a_newer_point_replaces_the_one_at_the_same_load_and_length():
    row, said = merged(OLD, NEW)
    kept = {"concurrency": 1, "tok_s": 10, "source": "then", "date": "2025-01-01"}
    assert row["points"] == [{**kept, "mark": "measured"}, {"concurrency": 4, "tok_s": 25}]
    assert row["source"] == "now"
    assert said == ["1 older points at the same loads and lengths are replaced"]


def test_lengths_that_differ_by_little_are_the_same():
    about = {"concurrency": 4, "tok_s": 1}
    one = {**OLD, "points": [{**about, "tokens_in": 100, "tokens_out": 50}]}
    for tokens_in, kept in ((104, 1), (150, 2), (None, 2)):
        point = {**about, "tokens_in": tokens_in, "tokens_out": 50}
        point = {key: value for key, value in point.items() if value is not None}
        row, _ = merged(one, {**NEW, "points": [point]})
        assert len(row["points"]) == kept


def test_what_stood_beside_the_points_goes_with_those_that_stay():
    old = {**OLD, "tokens_in": 200, "tokens_out": 100, "prefill_tok_s": 7, "cached_share": 0.2}
    row, _ = merged(old, NEW)
    (stays, stays_too, _) = row["points"]
    assert (stays["prefill_tok_s"], stays["tokens_in"], stays["tokens_out"]) == (7, 200, 100)
    assert "prefill_tok_s" not in stays_too
    assert "prefill_tok_s" not in row
    assert row["cached_share"] == 0.2


def test_a_guess_gives_way_to_what_was_measured_but_not_the_other_way_round():
    row, said = merged({**OLD, "mark": "estimated"}, NEW)
    assert row["points"] == NEW["points"]
    assert "nobody had measured" in said[1]
    row, _ = merged(OLD, {**NEW, "mark": "estimated"})
    assert len(row["points"]) == 2


@pytest.mark.parametrize("key", ["engine", "quantisation"])
def test_one_profile_is_of_one_engine_and_quantisation(key):
    with pytest.raises(Conflict, match=f"is of {key} `a`, this is of `b`"):
        merged({**OLD, key: "a"}, {**NEW, key: "b"})
    row, _ = merged({**OLD, key: "a"}, NEW)  # which says nothing of it
    assert row[key] == "a"
    with pytest.raises(Conflict):
        merged(row, {**NEW, key: "b"})


def test_a_table_read_by_littles_law_takes_no_measured_points():
    with pytest.raises(Conflict, match="little_consistent"):
        merged({**OLD, "reading": "little_consistent"}, NEW)


def report(*measurements):
    return BenchmarkReport("a tool", measurements, engine="vllm")


def measured(streams, tok_s):
    return Measurement(streams, 100.4, 50, mix_tok_s=tok_s, ttft_ms=Percentiles(p50=12.3456789))


def row(*measurements):
    return row_of(report(*measurements), "box/m", "m", "box", "local", "a test")


def test_a_row_keeps_six_digits_and_the_later_of_two_runs():
    found = row(measured(2, 111.0), measured(2, 123.4567891))
    assert found["points"] == [
        {
            "concurrency": 2,
            "tokens_in": 100.4,
            "tokens_out": 50,
            "mix_tok_s": 123.457,
            "ttft_ms": 12.3457,
        }
    ]
    assert "date" not in found


def test_a_file_is_written_whole_and_reads_back(tmp_path):
    path = default_path(tmp_path, "box/m:7b")
    assert path == tmp_path / "profiles" / "box--m-7b.yaml"
    assert rows_in(path) == []
    assert put(path, [row(measured(1, 10.0))]) == []
    put(path, [{**row(measured(4, 30.0)), "id": "box/other"}])
    assert [found["id"] for found in rows_in(path)] == ["box/m", "box/other"]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_what_does_not_read_back_is_not_written(tmp_path):
    path = default_path(tmp_path, "box/m")
    put(path, [row(measured(1, 10.0))])
    before = path.read_bytes()
    with pytest.raises(yamlfile.Invalid):
        put(path, [row(measured(2, -1.0))])
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_of_several_files_none_is_written_unless_all_can_be(tmp_path):
    good, bad = (default_path(tmp_path, name) for name in ("box/a", "box/m"))
    put(bad, [row(measured(1, 10.0))])
    before = bad.read_bytes()
    other = {**row(measured(1, 5.0)), "id": "box/a"}
    with pytest.raises(Conflict):
        put_all({good: [other], bad: [{**row(measured(2, 20.0)), "engine": "sglang"}]})
    with pytest.raises(yamlfile.Invalid):
        put_all({good: [other], bad: [row(measured(2, -1.0))]})
    assert [entry.name for entry in bad.parent.iterdir()] == [bad.name]
    assert bad.read_bytes() == before


def test_a_folder_that_is_none_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    good, bad = tmp_path / "good.yaml", tmp_path / "file" / "bad.yaml"
    with pytest.raises(OSError, match="file"):
        put_all({good: [row(measured(1, 5.0))], bad: [row(measured(1, 5.0))]})
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
