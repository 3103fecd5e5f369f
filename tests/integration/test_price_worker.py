"""The price worker without Lambda: moto's table, and a list that says what the test has it say."""

import itertools
import json

import pytest
from ledger_support import NOW
from worker_support import FLEETS

from backends import files, parse_prices
from backends.price_list import PricesNotRead
from router import price_item
from router.price_item import Overtaken, PriceItem
from router.workers.prices import Prices

TABLES = itertools.count()


PRODUCT = {
    "product": {"attributes": {"instanceType": "c8g.xlarge", "regionCode": "us-east-1"}},
    "terms": {"OnDemand": {"o": {"priceDimensions": {
        "d": {"unit": "Hrs", "pricePerUnit": {"USD": "0.17"}}}}}},
}  # fmt: skip


RATE = (
    "version: 1\ncurrency: USD\nprices: []\n"
    "exchange: [{{currency: CNY, usd: {usd}, as_of: {as_of}, source: our treasury}}]\n"
)


def prices(ledger, tmp_path, fetch, now_s=NOW):
    path = tmp_path / "fleets.yaml"
    path.write_text(FLEETS.format(url="http://127.0.0.1:9/v1"))
    catalogue = files.catalogue(path, state=tmp_path)
    return Prices(ledger.table, catalogue, fetch, lambda: now_s)


def listing(instance, _region):
    return [json.dumps(PRODUCT)] if instance == "c8g.xlarge" else []


def test_what_the_list_says_is_written_and_read_again(ledger, tmp_path):
    done = prices(ledger, tmp_path, listing).refresh()
    assert (done.prices, done.written, done.oldest_days) == (1, True, 0)
    assert done.problems == ("ml.c8g.xlarge in us-east-1: not in the list",)
    item = price_item.read(ledger.table)
    book = parse_prices.read(item.text, "item")
    assert book.rows["c8g.xlarge", "us-east-1", "on_demand"].usd_per_hour == 0.17
    assert (item.version, item.at_s) == (book.version, int(NOW))


def test_what_cannot_be_read_stays_and_grows_old(ledger, tmp_path):
    def refused(_instance, _region):
        raise PricesNotRead("AWS refuses: AccessDenied")

    prices(ledger, tmp_path, listing).refresh()
    before = price_item.read(ledger.table)
    done = prices(ledger, tmp_path, refused, NOW + 3 * 86400).refresh()
    assert (done.prices, done.written, done.oldest_days) == (0, False, 3)
    assert done.problems[0] == "c8g.xlarge in us-east-1: AWS refuses: AccessDenied"
    assert price_item.read(ledger.table) == before


def test_without_any_price_of_a_date_no_age_is_told(ledger, tmp_path):
    fleets = FLEETS.replace("c8g.xlarge", "x9.none")
    path = tmp_path / "fleets.yaml"
    path.write_text(fleets.format(url="http://127.0.0.1:9/v1"))
    worker_ = Prices(ledger.table, files.catalogue(path), lambda *_: [], lambda: NOW)
    assert worker_.refresh().oldest_days is None


def test_an_item_that_does_not_read_is_told_and_written_anew(ledger, tmp_path):
    price_item.write(ledger.table, PriceItem("prices: nonsense", "v0", 1), None)
    done = prices(ledger, tmp_path, listing).refresh()
    assert "the item CONFIG/prices:1" in done.problems[0]
    assert done.written


def in_currency(code):
    def listed(instance, region):
        return [text.replace('"USD"', f'"{code}"') for text in listing(instance, region)]

    return listed


def test_a_price_in_yuan_is_written_with_the_dated_rate_of_the_catalogue(ledger, tmp_path):
    """As the list of China has it."""
    (tmp_path / "prices.yaml").write_text(RATE.format(usd=0.15, as_of="2026-11-01"))
    done = prices(ledger, tmp_path, in_currency("CNY")).refresh()
    assert (done.prices, done.written) == (1, True)
    book = parse_prices.read(price_item.read(ledger.table).text, "item")
    price = book.rows["c8g.xlarge", "us-east-1", "on_demand"]
    assert (price.per_hour, price.currency, price.rate_as_of) == (0.17, "CNY", "2026-11-01")
    assert price.usd_per_hour == pytest.approx(0.17 * 0.15)
    assert "CNY at 0.15 (our treasury)" in price.source


def test_of_two_rates_the_newer_one_stays(ledger, tmp_path):
    def rate(as_of):
        (tmp_path / "prices.yaml").write_text(RATE.format(usd=0.15, as_of=as_of))
        prices(ledger, tmp_path, in_currency("CNY")).refresh()
        return parse_prices.read(price_item.read(ledger.table).text, "item").compiled["exchange"]

    for written, stays in (("2026-11-01", "2026-11-01"), ("2026-10-01", "2026-11-01"),
                           ("2026-11-05", "2026-11-05")):  # fmt: skip
        assert [row["as_of"] for row in rate(written)] == [stays]


def test_a_price_in_a_currency_without_a_rate_is_not_written(ledger, tmp_path):
    done = prices(ledger, tmp_path, in_currency("CHF")).refresh()
    assert not done.written
    assert "no `exchange` rate of `CHF`" in done.problems[-1]
    assert price_item.read(ledger.table) is None


def test_who_writes_second_is_told_and_writes_nothing(ledger, tmp_path):
    def overtaken(instance, region):
        if price_item.read(ledger.table) is None:
            price_item.write(ledger.table, PriceItem("version: 1", "theirs", 1), None)
        return listing(instance, region)

    with pytest.raises(Overtaken):
        prices(ledger, tmp_path, overtaken).refresh()
    assert price_item.read(ledger.table).version == "theirs"
