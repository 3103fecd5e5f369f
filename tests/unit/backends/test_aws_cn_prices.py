"""The prices of China: in CNY, by region, never another region's."""

import pytest

from backends import aws_cn_prices, aws_prices, files
from yamlfile import Invalid

KNOWN_SOURCE = files.packaged("backends", "data", "aws.yaml")
KNOWN = aws_prices.read(KNOWN_SOURCE.text, KNOWN_SOURCE.name)
SOURCE = files.packaged("backends", "data", "aws-cn.yaml")
CHINA = aws_cn_prices.read(SOURCE.text, SOURCE.name, KNOWN)
RATE = aws_cn_prices.rate(files.library().prices)
REGIONS = ("cn-north-1", "cn-northwest-1")


@pytest.mark.parametrize("region", REGIONS)
def test_a_price_is_the_region_s_own_or_unknown(region):
    found = aws_cn_prices.of_region(CHINA, region, KNOWN, RATE)
    assert set(found) == set(KNOWN)
    for price in found.values():
        assert (price.region, price.currency) == (region, "CNY")
        if (price.id, region) in CHINA.rows:
            assert price.usd == pytest.approx(price.per_unit * RATE.usd)
            assert price.as_of
            assert price.source
        else:
            assert (price.usd, price.per_unit, price.as_of) == (None, None, None)
            assert region in price.source


def test_beijing_has_no_prices_of_ningxia():
    beijing = aws_cn_prices.of_region(CHINA, "cn-north-1", KNOWN, RATE)
    assert [price.id for price in beijing.values() if price.usd is not None] == ["transfer-out"]


def test_without_a_rate_the_yuan_are_known_and_the_dollars_are_not():
    price = aws_cn_prices.of_region(CHINA, "cn-northwest-1", KNOWN, None)["api-request"]
    assert (price.per_unit, price.usd) == (0.00002894, None)


def test_the_packaged_rate_has_a_day_and_a_source():
    assert RATE.currency == "CNY"
    assert 0.1 < RATE.usd < 0.2
    assert RATE.as_of > "2026"
    assert RATE.source


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: logs-gb,", "id: logs-gib,", "no price `logs-gib` (did you mean `logs-gb`"),
        ("id: logs-kept,", "id: logs-gb,", "price `logs-gb` of cn-northwest-1 stands here twice"),
        ("currency: CNY", "currency: USD", "currency"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(old, new, said):
    with pytest.raises(Invalid, match=r"aws-cn\.yaml:\d+: ") as told:
        aws_cn_prices.read(SOURCE.text.replace(old, new), SOURCE.name, KNOWN)
    assert said in str(told.value)
