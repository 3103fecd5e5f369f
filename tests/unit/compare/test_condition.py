"""`--fail-if`: what can be asked, what holds, and what is told of it."""

from dataclasses import replace

import pytest
from diff_support import compared, run, trace

from router.compare.condition import judged, parse
from router.compare.metrics import METRICS


def hour(usd):
    return ([usd] * 60, [0.0] * 60)


OLD = run([0] * 100, bills=hour(1.0), seconds=3600.0, ttft_ms=800.0)
DEARER = run([0] * 98 + [None, None], bills=hour(1.1), seconds=3600.0, ttft_ms=1000.0)
FOUND = compared(OLD, DEARER, trace(100))  # $60 -> $66


def holds(text, found=FOUND):
    return judged(parse(text), found).holds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("usd > +5%", True),
        ("usd > +15%", False),
        ("usd>=+6", True),
        ("usd > +$6.01", False),
        ("usd > 65", True),
        ("usd > 1,000", False),
        ("usd > 1,000.5", False),
        ("usd < 1,000,000", True),
        ("usd < +0", False),
        ("usd < -5%", False),
        ("ttft_p95_ms > 900", True),
        ("ttft_p95_ms > +200", False),
        ("ttft_p95_ms >= +200", True),
        ("e2e_p95_ms > +24%", True),
        ("refused > 1%", True),
        ("refused > 2", False),
        ("refused > +1", True),
        ("refused > +900%", True),
        ("moved > 1%", True),
        ("moved > 2", False),
        ("slo < 99%", True),
        ("slo < -1%", True),
        ("slo < -3%", False),
        ("usd.low > +5%", True),
        ("usd.high > +$5.99", True),
        ("usd.high > 67", False),
        ("never_hit > 1", False),
        ("never_hit >= 1", True),
        ("budgets_broken > 0", False),
    ],
)
def test_a_condition_holds_or_does_not(text, expected):
    assert holds(text) is expected


def test_low_and_high_are_the_two_ends_of_the_interval_about_the_figure():
    noisy = ([1.0 + 0.1 * (i % 7) for i in range(60)], [0.0] * 60)
    found = compared(OLD, run([0] * 100, bills=noisy, seconds=3600.0), trace(100))
    at = f"+{found.usd_change:.6f}"
    assert not holds(f"usd.low >= {at}", found)
    assert holds(f"usd.low <= {at}", found)
    assert holds(f"usd.high >= {at}", found)
    assert not holds(f"usd.high <= {at}", found)


def test_what_is_turned_round_is_judged_the_other_way():
    back = compared(DEARER, OLD, trace(100))
    assert not holds("usd > +5%", back)
    assert holds("usd < -5%", back)
    assert holds("ttft_p95_ms < +0", back)


@pytest.mark.parametrize("text", ["slo >= 100%", "slo <= 0%", "slo < -99%", "usd <= -100%"])
def test_a_bound_at_the_very_end_of_what_can_be_is_one(text):
    assert parse(text).text == text


def test_a_bound_is_told_as_it_was_written():
    assert "the bound is > 1.5" in judged(parse("refused > 1.5"), FOUND).said
    assert "the bound is > $0.000050" in judged(parse("usd > 0.00005"), FOUND).said


def test_it_says_the_value_the_bound_and_by_how_much_it_is_beyond():
    texts = ("usd > +5%", "ttft_p95_ms > 900", "usd > +15%", "slo < -1%")
    assert {text: judged(parse(text), FOUND).said for text in texts} == {
        "usd > +5%": "usd changes by +10.00%, the bound is > +5.00%, 5.00% beyond",
        "ttft_p95_ms > 900": "ttft_p95_ms is 1,000 ms, the bound is > 900 ms, 100 ms beyond",
        "usd > +15%": "usd changes by +10.00%, the bound is > +15.00%",
        "slo < -1%": "slo changes by -2.00 points, the bound is < -1.00 points, 1.00 points beyond",
    }


def test_a_price_that_is_unknown_fails_the_condition_and_is_told():
    unknown = compared(OLD, run([0] * 100, bills=(None, [0.0] * 60)), trace(100))
    for text in ("usd > +5%", "usd < 1", "usd.low > +5%", "usd_idle > +1"):
        found = judged(parse(text), unknown)
        assert found.holds is None
        assert found.fails
        assert "can't be judged" in found.said
        assert "unknown" in found.said


def test_an_interval_that_a_short_trace_lacks_fails_the_condition_and_is_told():
    short = compared(run([0]), run([0]))
    found = judged(parse("usd.high > +5%"), short)
    assert found.fails
    assert "too short for an interval" in found.said
    assert not judged(parse("usd > +5%"), short).fails


def test_times_of_nobody_served_fail_the_condition():
    nobody = compared(OLD, run([None] * 100, bills=hour(1.0), seconds=3600.0), trace(100))
    assert judged(parse("ttft_p95_ms > 900"), nobody).holds is None


def test_more_of_what_was_none_is_beyond_every_percentage_and_none_of_none_is_no_change():
    assert holds("refused > +1000%")
    assert not holds("timed_out > +1%")
    assert judged(parse("refused > +5%"), FOUND).said == (
        "refused rises from 0 to 2, which has no percentage, the bound is > +5.00%"
    )


def test_a_bill_that_was_nothing_is_told_in_dollars():
    free = run([0] * 100, bills=hour(0.0), seconds=3600.0)
    assert judged(parse("usd > +5%"), compared(free, OLD, trace(100))).said == (
        "usd rises from 0 to $60.00, which has no percentage, the bound is > +5.00%"
    )


def test_a_bill_that_was_nothing_has_no_interval_in_percent():
    free = run([0] * 100, bills=hour(0.0), seconds=3600.0)
    found = judged(parse("usd.high > +5%"), compared(free, OLD, trace(100)))
    assert found.fails
    assert "the old bill is 0" in found.said


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_asked_and_says_what_it_is(name):
    metric = METRICS[name]
    bound = "1%" if metric.unit == "share" else "1"
    assert judged(parse(f"{name} > {bound}"), FOUND).holds is not None
    assert metric.said
    same = replace(FOUND, new=FOUND.old, moved=(), bounds=())
    if not metric.is_change:
        assert judged(parse(f"{name} > +0%"), same).holds is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("usdd > +5%", "at character 1: unknown metric `usdd`, did you mean `usd`? (known: usd,"),
        ("cost > 5", "(known: usd, usd.low, usd.high, usd_allocated, usd_idle,"),
        ("> 5", "at character 1: a metric is missing (known: usd,"),
        ("", "at character 1: a metric is missing"),
        ("  cost > 5", "at character 3: unknown metric `cost`"),
        ("usd == 5", "at character 5: a comparator is one of >= <= > <"),
        ("usd", "at character 4: a comparator is one of"),
        (
            "usd > ",
            "at character 7: a value is a change (+5%, -100) or a bound (900, 99%, 1,500.25)",
        ),
        ("usd > five", "at character 7: a value is"),
        ("usd > nan", "at character 7: a value is"),
        ("usd > +5% or", "at character 7: a value is"),
        ("usd > 5%", "at character 7: a percentage of `usd` is a change: write +5% or -5%"),
        ("usd.mid > +5%", "at character 5: `.mid` is neither .low nor .high"),
        ("slo.low < 5%", "at character 5: `slo` has no interval (only usd has)"),
        ("slo < 0.9", "at character 7: `slo` is a share: write it in percent (90%)"),
        ("slo < 99", "at character 7: `slo` is a share: write it in percent (99%)"),
        ("slo < +1", "at character 7: `slo` is a share: write it in percent (+1%)"),
        ("slo < -0.5", "at character 7: `slo` is a share: write it in percent (-0.5%)"),
        ("slo > 150%", "at character 7: this never holds: `slo` is from 0% to 100%"),
        ("slo > 100%", "at character 7: this never holds: `slo` is from 0% to 100%"),
        ("slo < 150%", "at character 7: this always holds: `slo` is from 0% to 100%"),
        ("slo < 0%", "at character 7: this never holds: `slo` is from 0% to 100%"),
        ("slo < -150%", "this never holds: a change of `slo` is from -100% to +100%"),
        ("slo > +100%", "this never holds: a change of `slo` is from -100% to +100%"),
        ("slo > -150%", "this always holds: a change of `slo` is from -100% to +100%"),
        ("refused > 150%", "at character 11: this never holds: `refused` is from 0% to 100%"),
        ("refused < 0", "at character 11: this never holds: `refused` is 0 or more"),
        ("usd < $0", "at character 7: this never holds: `usd` is 0 or more"),
        ("usd < -100%", "this never holds: a change of `usd` is -100% or more"),
        ("usd > -200%", "this always holds: a change of `usd` is -100% or more"),
        ("usd ＞ +5%", "at character 5: `＞` is a full-width sign: write `>`"),
        ("usd > +5％", "at character 9: `％` is a full-width sign: write `%`"),
        ("usd > ＋5%", "at character 7: `＋` is a full-width sign: write `+`"),
        ("usd > １5", "at character 7: `１` is a full-width sign: write `1`"),
        ("usd > 1，500", "at character 8: `，` is a full-width sign: write `,`"),
        ("usd ≥ 5", "at character 5: `≥` is not an ASCII character: write `>=`"),
        ("“usd > 5”", 'at character 1: `“` is not an ASCII character: write `"`'),
        ("moved > +5%", "at character 9: `moved` is a change already"),
        ("never_hit > 5%", "at character 13: `never_hit` doesn't count requests"),
        ("usd > 5\nor", "at character 1: a condition is one line"),
        (f"usd > {'9' * 100}", "at character 7: a value is"),
        ("usd > 1,5", "1,500.25); write decimals with a point (1.5)"),
        ("usd > +0,500", "write decimals with a point (1.5)"),
        ("usd > 1,0000", "at character 7: a value is"),
        ("usd > 1_000", "at character 7: a value is"),
        ("usd > 1_,_,2", "at character 7: a value is"),
        ("usd > ٥", "at character 7: a value is"),
        (" " * 40_000 + "usd > 5", "at character 201: a condition has at most 200 characters"),
        ("usd" + " " * 40_000, "`: at character 201: a condition has at most 200 characters"),
    ],
)
def test_what_is_no_condition_is_told_with_its_place_and_what_would_be_valid(text, said):
    with pytest.raises(ValueError, match="character") as caught:
        parse(text)
    assert said in str(caught.value)
