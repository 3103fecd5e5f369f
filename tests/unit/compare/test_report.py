"""The report: what stands in the headline, and what a pull request shows."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from diff_support import NAMES, compared, kind, run, trace

from backends import files
from policies.parse import parse
from router.cli.policy.diff import command as diff
from router.cli.policy.diff_text import text as terminal
from router.compare.bound import Bound
from router.compare.condition import judged
from router.compare.condition import parse as condition_of
from router.compare.markdown import MOST_ROWS, escaped, markdown
from router.compare.metrics import METRICS
from router.compare.report import Named, Report, extrapolated, headline, rows, usd_column
from router.compare.report_json import report_json
from router.compare.words import Said

OLD, NEW = Named("old.yaml", "shop", "a" * 16), Named("new.yaml", "shop-next", "b" * 16)


def hour(*usd):
    return ([usd[i % len(usd)] for i in range(60)], [0.0] * 60)


def of(old, new, count=1, kinds=()):
    sides = (run([0] * count, bills=each, seconds=3600.0) for each in (old, new))
    return compared(*sides, trace(count, kinds))


def report(found=None, words=(), **more):
    return Report(OLD, NEW, tuple(words), found, **more)


def test_a_dearer_policy_has_a_plus_and_a_cheaper_one_a_minus():
    steady, dearer = hour(1.0, 1.1), hour(1.5, 1.8)
    assert headline(of(steady, dearer)).startswith("+$36.00 (+57.14%), 95 % interval +$")
    assert headline(of(dearer, steady)).startswith("-$36.00 (-36.36%), 95 % interval -$")


def test_a_difference_within_the_interval_is_told_as_one_that_may_be_none():
    noisy = hour(1.0, 3.0, 0.2, 1.9, 0.1, 2.2, 5.0)
    other = hour(3.0, 1.1, 0.9, 0.2, 2.4, 5.0, 1.0)
    assert headline(of(noisy, other)).endswith("this trace can't tell it from no change")


def test_a_bill_that_stays_in_every_minute_is_told_so_though_requests_move():
    found = compared(
        run([0], bills=hour(1.0), seconds=3600.0), run([1], bills=hour(1.0), seconds=3600.0)
    )
    assert headline(found) == "the bill stays as it is, in every minute"


def test_no_difference_is_said_where_not_one_figure_differs():
    assert headline(of(hour(1.0), hour(1.0))).startswith("no difference: every request")


def test_a_trace_that_is_too_short_says_that_it_has_no_interval():
    found = compared(run([0]), run([0], bills=((2.0,), (0.0,))))
    assert headline(found) == "+$1.00 (+100.00%); the trace is too short for an interval"


def test_a_week_is_told_as_what_it_is_an_extrapolation():
    found = of(hour(1.0), hour(1.5))
    assert extrapolated(found, "week") == (
        "+$5,040.00 a week (7 days), if all of it were as this trace is; "
        "interval +$5,040.00 to +$5,040.00"
    )


def test_the_table_has_old_new_and_the_change_and_unknown_is_a_word():
    found = compared(run([0]), run([None], bills=(None, (0.0,))))
    table = {row.name.strip(): (row.old, row.new, row.change) for row in rows(found)}
    assert table["bill"] == ("$1.00", "unknown", "unknown")
    assert table["TTFT p95"] == ("100 ms", "unknown", "unknown")
    assert table["refused"] == ("0", "1", "+1")


def test_the_table_tells_what_is_more_with_a_plus():
    found = of(hour(1.0), hour(1.1))
    assert {row.name: row.change for row in rows(found)}["bill"] == "+$6.00 (+10.0%)"
    assert {row.name: row.change for row in rows(of(hour(1.1), hour(1.0)))}["bill"] == (
        "-$6.00 (-9.1%)"
    )


# -- Markdown --------------------------------------------------------------------------------------


def test_what_a_name_holds_can_neither_break_a_table_nor_be_html_nor_call_anybody():
    assert escaped("a|b\n`c` <b>&") == r"a\|b \`c\` &lt;b&gt;&amp;"
    assert escaped("@everyone in #12, x@y") == "@<!-- -->everyone in #<!-- -->12, x@y"
    assert escaped("搜索") == "搜索"
    assert escaped("[a](b) *c* _d_ ~e~ \\ $x$") == r"\[a\](b) \*c\* \_d\_ \~e\~ \\ \$x\$"


@pytest.mark.parametrize("team", ["搜索|<script>`x`\n\n# 大", "</details>"])
def test_a_table_keeps_its_columns_whatever_a_team_is_called(team):
    old, new = (run([place], bills=hour(1.0), seconds=3600.0) for place in (0, 1))
    text = markdown(report(compared(old, new, trace(1, (kind(team),)))))
    table = [line for line in text.splitlines() if line.startswith("| team | task |")]
    (row,) = [line for line in text.splitlines() if "cheap | dear" in line]
    assert row.replace(r"\|", "").count("|") == table[0].count("|") == 7
    assert "<script>" not in text
    assert text.count("<details>") == text.count("</details>")


def test_many_ways_are_cut_and_the_rest_is_counted():
    kinds = tuple(kind(f"team-{i}") for i in range(MOST_ROWS + 5))
    old, new = (run([place] * 40, bills=hour(1.0), seconds=3600.0) for place in (0, 1))
    text = markdown(report(compared(old, new, trace(40, kinds))))
    assert "<summary>Requests that move: 40 of 40 (100.0%)</summary>" in text
    assert "5 more rows, 10 requests." in text


def test_a_report_stays_short_enough_for_a_comment_however_many_budgets_bind():
    bound = Bound("b" * 200, "v" * 200, "month", "reject", 1.0, 2.0, None, 3.0)
    found = replace(of(hour(1.0), hour(1.5)), bounds=(bound,) * 20_000)
    words = [Said(f"budget `{i}`", "usd: " + "9" * 9_000) for i in range(20_000)]
    text = markdown(report(found, words))
    assert len(text) < 65_536
    assert "- and 19,985 more" in text
    assert "- and 19,950 more" in text
    assert "b" * 80 not in text


def test_a_name_is_no_link_and_hides_nothing():
    assert escaped("http://a.b WWW.c") == "http:<!-- -->//a.b WWW<!-- -->.c"
    assert escaped("a\u202eb\x1b[c\u200bd\ud800") == "a\ufffdb\ufffd\\[c\ufffdd\ufffd"


def test_words_alone_make_a_report_without_a_bill():
    text = markdown(report(words=[Said("rule `a`", "task: + math")]))
    assert text == (
        "### Policy diff: shop (aaaaaaaa) → shop-next (bbbbbbbb)\n\n"
        "<details><summary>In words: 1 change</summary>\n\n"
        "- rule \\`a\\`: task: + math\n\n</details>\n"
    )


def test_policies_of_one_meaning_say_so():
    assert "In words: nothing changed in meaning" in markdown(report())


def test_what_was_drawn_and_what_the_interval_covers_stand_in_the_report():
    found = of(hour(1.0, 1.2), hour(1.5, 1.9))
    found = replace(found, assumptions=("60% are simple",), seeded=found.seeded * 2)
    text = markdown(report(found))
    assert "- 60% are simple" in text
    assert "it doesn't cover prices" in text
    assert "was drawn 2 times: seed 1 +" in text


# -- the documentation -----------------------------------------------------------------------------

DOCS = Path(__file__).parents[3] / "docs"


def test_the_example_in_the_documentation_is_of_the_policies_as_they_are():
    page = (DOCS / "policy-diff-example.md").read_text("utf-8")
    for path in ("default.yaml", "examples/lowest-cost.yaml"):
        source = files.packaged("policies", *path.split("/"))
        found = parse(source.text, source.name, NAMES)
        assert f"{found.name} ({found.hash[:8]})" in page


def test_the_documentation_lists_every_metric_of_a_condition():
    page = (DOCS / "policy-diff.md").read_text("utf-8")
    table = page.split("| metric | what it is |")[1].split("\n\n")[0]
    first = " ".join(row.split("|")[1] for row in table.splitlines()[2:])
    assert set(re.findall(r"`(\w+)`", first)) == METRICS.keys()


def test_the_conditions_in_the_documentation_can_be_read():
    page = (DOCS / "policy-diff.md").read_text("utf-8")
    rows = page.split("| value | means | example |")[1].split("\n\n")[0].splitlines()[2:]
    examples = [text for row in rows for text in re.findall(r"`([^`]+)`", row.split("|")[3])]
    assert len(examples) >= 8
    for text in (*examples, *re.findall(r"--fail-if '([^']+ [^']+)'", page)):
        if "METRIC" not in text:
            condition_of(text)


def test_the_workflow_in_the_documentation_is_yaml_and_runs_this_command():
    page = (DOCS / "policy-diff.md").read_text("utf-8")
    workflow = yaml.safe_load(page.split("```text")[1].split("```")[0])
    (command,) = [
        step["run"] for step in workflow["jobs"]["diff"]["steps"] if "diff" in step.get("run", "")
    ]
    known = {option for each in diff.params for option in each.opts}
    assert set(re.findall(r"--[a-z-]+", command)) <= known


# -- several draws ---------------------------------------------------------------------------------


def drawn(*bills):
    """Return a comparison whose draws have these bills, old and new; the first has the tables."""
    found = of(hour(1.0, 1.2), hour(1.5, 1.9))
    (first,) = found.seeded
    seeds = [replace(first, seed=i, usd_old=a, usd_new=b) for i, (a, b) in enumerate(bills)]
    return replace(found, seeded=tuple(seeds))


def test_of_several_draws_the_headline_is_the_interval_and_the_one_in_the_middle():
    said = headline(drawn((100.0, 190.0), (100.0, 130.0), (100.0, 120.0)))
    assert re.fullmatch(
        r"95 % interval \+\$\S+ to \+\$\S+ over 3 draws, the middle one \+\$30\.00 \(\+30\.00%\)",
        said,
    )


def test_of_several_draws_a_longer_time_is_told_from_the_interval_too():
    said = extrapolated(drawn((100.0, 190.0), (100.0, 130.0), (100.0, 120.0)), "day")
    assert said.startswith("interval +$")
    assert said.endswith("; the middle draw +$720.00")


def test_of_several_draws_without_an_interval_the_least_and_the_most_are_told():
    found = replace(drawn((100.0, 190.0), (100.0, 130.0), (100.0, 120.0)), spread=None)
    assert headline(found) == (
        "+$30.00 (+30.00%), the middle of 3 draws (+$20.00 to +$90.00); "
        "the trace is too short for an interval"
    )


def test_draws_that_differ_are_no_sameness_though_the_first_is_the_same():
    same = of(hour(1.0), hour(1.0))
    (first,) = same.seeded
    other = replace(first, seed=2, usd_old=60.0, usd_new=61.0)
    assert headline(replace(same, seeded=(first, other, other))).endswith(
        "the middle one +$1.00 (+1.67%): this trace can't tell it from no change"
    )


def test_a_draw_with_an_unknown_price_makes_the_headline_unknown():
    found = drawn((100.0, 190.0), (100.0, None))
    assert headline(found) == "what it costs can't be told: a price is unknown"


def test_every_form_of_the_report_says_the_same_of_the_draws():
    found = drawn((100.0, 190.0), (100.0, 130.0), (100.0, 120.0))
    whole = report(found)
    assert escaped(headline(found)) in markdown(whole)
    assert "The tables are of seed 0, one of 3 draws." in markdown(whole)
    assert headline(found) in terminal(whole)
    assert "the tables are of seed 0, one of 3 draws" in terminal(whole)
    told = report_json(whole)["replay"]
    assert told["headline"] == headline(found)
    assert (told["usd_change_middle"], told["draws"], told["seed"]) == (30.0, 3, 0)
    assert "draws" not in headline(of(hour(1.0, 1.2), hour(1.5, 1.9)))


# -- gates -----------------------------------------------------------------------------------------


def test_it_is_said_which_gates_fail_and_which_are_ok_with_their_figures():
    found = of(hour(1.0), hour(1.1))
    asked = ("usd > +5%", "usd > +15%", "ttft_p95_ms > 900")
    whole = report(found, judged=tuple(judged(condition_of(one), found) for one in asked))
    assert (
        "Gates: 1 fails, 2 ok.\n\n"
        "- **FAILS**: fail if usd &gt; +5%: usd changes by +10.00%, the bound is &gt; +5.00%, "
        "5.00% beyond\n"
        "- ok: fail if usd &gt; +15%: usd changes by +10.00%, the bound is &gt; +15.00%\n"
    ) in markdown(whole)
    assert "gates: 1 fails, 2 ok\n  FAILS  fail if usd > +5%: usd changes by" in terminal(whole)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["usd > +15%"], "gates: 1 ok\n  ok  fail if usd > +15%"),
        (["usd > +5%", "usd > +6%"], "gates: 2 fail\n  FAILS  fail if usd > +5%"),
    ],
)
def test_gates_of_one_kind_are_counted_alone(asked, said):
    found = of(hour(1.0), hour(1.1))
    whole = report(found, judged=tuple(judged(condition_of(one), found) for one in asked))
    assert said in terminal(whole)


# -- columns of money ------------------------------------------------------------------------------


def test_a_column_of_money_has_as_many_decimals_as_its_smallest_amount_needs():
    assert usd_column([132.02, 0.7, None, 0.0]) == ["$132.02", "$0.70", "unknown", "$0.00"]
    assert usd_column([132.02, 0.003, 0.0]) == ["$132.020000", "$0.003000", "$0.000000"]
    assert usd_column([-1.0, 2e-8], signed=True) == ["-$1.000000000", "+$0.000000020"]


def test_no_column_of_a_table_mixes_decimals():
    kinds = (kind("a"), kind("b"))
    old = run([0, 0], usd=[700_000_000, 3_000], bills=hour(1.0), seconds=3600.0)
    new = run([1, 1], usd=[900_000_000, 5_000], bills=hour(1.5), seconds=3600.0)
    whole = report(compared(old, new, trace(2, kinds)))
    for table in re.findall(r"(?:\|.*\n)+", markdown(whole).replace("\\", "")):
        columns = zip(*(line.split("|")[1:-1] for line in table.splitlines()[2:]), strict=True)
        for column in columns:
            amounts = [re.findall(r"\$[\d,]+\.(\d+)", cell) for cell in column]
            assert len({len(decimals) for cell in amounts for decimals in cell}) <= 1
