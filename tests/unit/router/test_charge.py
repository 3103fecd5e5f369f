from hypothesis import given
from hypothesis import strategies as st

from backends.cost import RateCard
from backends.sse import Usage
from router.charge import Charged, charge_json, charged, usage_nano, usd_text

CARD = RateCard(350_000_000, 35_000_000, 1_000_000_000)
BASELINE = RateCard(1_000_000_000, 100_000_000, 10_000_000_000)


def test_an_attempt_costs_its_tokens_at_the_fleets_card():
    found = charged(CARD, Usage(200, 100, 50), estimated=False)
    assert found.nano == -(-(150 * 350 + 50 * 35 + 100 * 1000) // 1)


def test_unknown_tokens_or_prices_are_no_charge_rather_than_zero():
    assert charged(None, Usage(1, 1), estimated=False) is None
    assert charged(CARD, Usage(None, 1), estimated=False) is None
    assert charged(CARD, Usage(1, None), estimated=False) is None


def test_more_cached_than_sent_is_no_credit():
    assert usage_nano(CARD, Usage(10, 0, 1000)) == usage_nano(CARD, Usage(10, 0, 10))


def test_every_attempt_is_paid_and_the_baseline_would_have_served_once():
    first = Charged(Usage(100, 5), 7_000, estimated=True)
    second = Charged(Usage(100, 10), 45_000, estimated=False)
    found = charge_json([first, second], BASELINE)
    assert found["usd"] == 52_000 / 1e9
    assert found["usd_baseline"] == 200_000 / 1e9
    assert found["usd_saved"] == (200_000 - 52_000) / 1e9
    assert found["estimated"] is True
    assert (found["tokens_in"], found["tokens_out"]) == (100, 10)


def test_what_a_hard_budget_lets_go_is_in_neither_charge_nor_baseline():
    found = charge_json(
        [Charged(Usage(100, 10), 45_000, estimated=False)], BASELINE, most_nano=9_000
    )
    assert (found["usd"], found["usd_baseline"]) == (9_000 / 1e9, 40_000 / 1e9)


def test_a_request_that_failed_saves_nothing():
    found = charge_json([Charged(Usage(100, 0), 45_000, estimated=True)], BASELINE, served=False)
    assert (found["usd_baseline"], found["usd_saved"]) == (0.0, -45_000 / 1e9)


def test_the_routers_own_cost_is_its_own_line_and_lowers_the_saving():
    found = charge_json([Charged(Usage(100, 10), 45_000, estimated=False)], BASELINE, 0.000009)
    assert found["usd"] == 45_000 / 1e9
    assert found["usd_router"] == 9_000 / 1e9
    assert found["usd_saved"] == (200_000 - 45_000 - 9_000) / 1e9


def test_a_saving_may_be_negative():
    found = charge_json([Charged(Usage(1, 1), 10**9, estimated=False)], BASELINE)
    assert found["usd_saved"] < 0


def test_without_a_baseline_price_the_saving_is_unknown():
    found = charge_json([Charged(Usage(1, 1), 1, estimated=False)], None)
    assert found["usd_baseline"] is None
    assert found["usd_saved"] is None


def test_nothing_charged_says_nothing():
    assert charge_json([], BASELINE) == {}


@given(st.sampled_from([0, 1, 999_999_999, 1_000_000_000, 10**12 + 7]))
def test_money_is_written_with_nine_decimals_and_loses_nothing(nano):
    whole, _, part = usd_text(nano).partition(b".")
    assert len(part) == 9
    assert int(whole + part) == nano
