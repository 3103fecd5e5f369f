"""`sluice plan`, as typed."""

import json
import sys
from subprocess import run

import pytest
from support import sluice

TRACE = "gen:poisson?rate=0.5&seconds=1200&in=fixed:400&out=fixed:40"


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """One plan in JSON, with what it wrote."""
    folder = tmp_path_factory.mktemp("plan")
    found = sluice(
        *("plan", TRACE, "--slo", "ttft_p95=400ms", "--from-zero", "--json"),
        *("--out", folder / "fleets.yaml", "--shadow-prices", folder / "prices.json"),
        *("--state", folder),
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout), folder


def test_a_plan_says_what_to_buy_and_a_replay_holds_it(planned):
    found, _ = planned
    machines = {unit["unit"]: unit["machines"] for unit in found["units"] if any(unit["machines"])}
    assert machines == {"inf2-scout": [1]}
    assert found["usd_per_week"] == pytest.approx(12.89 * 168)
    assert found["verified"]["held"]
    assert found["verified"]["usd_per_week"] == pytest.approx(found["usd_per_week"], rel=0.02)
    assert found["by_shadow_prices"]["held"]
    assert sum(route["share"] for route in found["routes"]) == pytest.approx(
        len({route["class"] for route in found["routes"]})
    )


def test_a_plan_says_what_each_limit_costs(planned):
    worth = {(v["limit"], v["relaxed"]): v["usd_per_week"] for v in planned[0]["values"]}
    assert worth["ttft_p95=400ms", "none"] == 0
    assert ("busy minutes", "the mean of the hour") in worth


def test_the_planned_fleets_are_a_catalogue_that_the_router_reads(planned):
    _, folder = planned
    shown = sluice("fleet", "show", "--fleets", folder / "fleets.yaml", "--json")
    fleets = {fleet["fleet"] for fleet in json.loads(shown.stdout)["fleets"]}
    assert "inf2-scout" in fleets


def test_what_to_know_first_is_in_json_and_on_standard_error(planned):
    found, _ = planned
    said = "policy default uses `cpu`, of which the plan has no fleet"
    assert found["warnings"] == [said]


def test_shadow_prices_are_written_for_each_hour(planned):
    found, folder = planned
    written = json.loads((folder / "prices.json").read_text("utf-8"))
    assert written == found["shadow_prices"]
    assert {len(usd) for usd in written.values()} == {found["hours"]}


def test_the_same_plan_has_the_same_text_and_says_what_is_assumed(tmp_path):
    asked = ("plan", TRACE, "--slo", "ttft_p95=200ms", "--from-zero", "--state", tmp_path)
    first, second = sluice(*asked), sluice(*asked)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert "ttft_p95=200ms" in first.stdout
    assert "assumed:" in first.stdout
    assert max(map(len, first.stdout.splitlines())) <= 100
    assert "p5-scout" in first.stdout


def test_an_impossible_slo_ends_with_1_and_says_which_limit_and_by_how_much(tmp_path):
    asked = ("plan", TRACE, "--slo", "ttft_p95=50ms", "--state", tmp_path)
    told = sluice(*asked)
    assert told.returncode == 1
    assert "infeasible" in told.stdout
    assert "within 50 ms (p95): the fastest, p5-scout, takes 180 ms idle" in told.stdout
    rows = json.loads(sluice(*asked, "--json").stdout)["infeasible"]
    assert {row["limit"] for row in rows} == {"ttft_p95"}
    assert {row["fleet"] for row in rows} == {"p5-scout"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--slo", "ttft=3s"), "`ttft=3s` is no limit (valid: `ttft_p95=300ms`"),
        (("--slo", "ttft_p95=3s", "--only", "p5-scoot"), "unknown fleet `p5-scoot`"),
        (("--slo", "ttft_p95=3s", "--floor", "2"), "--floor"),
        ((), "--slo"),
        (("--slo", "ttft_p95=3s", "--slo", "ttft_p95=1s"), "`ttft_p95` stands twice"),
        (("--slo", "ttft_p95=3s", "--seed", 2**64), "--seed"),
        (("--slo", "ttft_p95=3s", "--out", "."), "is a directory"),
        (("--slo", "ttft_p95=3s", "--out", ""), "is a folder, or no name"),
    ],
)
def test_what_is_mistyped_is_told(asked, said, tmp_path):
    told = sluice("plan", TRACE, *asked, "--state", tmp_path)
    assert told.returncode == 3
    assert said in told.stderr


def test_an_empty_trace_is_refused(tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("", "utf-8")
    told = sluice("plan", empty, "--slo", "ttft_p95=3s", "--state", tmp_path)
    assert told.returncode == 3
    assert "empty" in told.stderr


def test_without_highs_the_command_says_how_to_install_it(tmp_path):
    code = (
        "import sys; sys.modules['highspy'] = None; from router.cli.main import main; "
        f"sys.argv = ['sluice', 'plan', {TRACE!r}, '--slo', 'ttft_p95=3s']; main()"
    )
    told = run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "install `sluice[plan]`, or `pip install highspy`" in told.stderr


def test_what_is_read_and_what_is_written_already_is_never_written_over(tmp_path):
    trace, fleets, policy = (tmp_path / name for name in ("a.csv", "fleets.yaml", "policy.yaml"))
    for path in (trace, fleets, policy):
        path.write_text("kept", "utf-8")
    asked = ("plan", trace, "--slo", "ttft_p95=3s", "--fleets", fleets, "--policy", policy)
    for flag, path in (("--out", trace), ("--shadow-prices", fleets), ("--out", policy)):
        told = sluice(*asked, flag, path)
        assert told.returncode == 3
        assert f"{path} is read as well" in told.stderr
        assert path.read_text("utf-8") == "kept"
    told = sluice(*asked, "--out", tmp_path / "one", "--shadow-prices", tmp_path / "one")
    assert told.returncode == 3
    assert "is written as well" in told.stderr


def test_highs_that_does_not_load_is_told_with_its_own_message(tmp_path):
    (tmp_path / "highspy.py").write_text("raise RuntimeError('built for another numpy')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from router.cli.main import main; "
        f"sys.argv = ['sluice', 'plan', {TRACE!r}, '--slo', 'ttft_p95=3s']; main()"
    )
    told = run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "built for another numpy" in told.stderr
    assert "Traceback" not in told.stderr
