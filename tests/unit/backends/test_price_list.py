"""The AWS price list, asked through boto3's own stub and read from products of its shape."""

import copy
import json
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from backends import price_list
from backends.price_list import Listed, PricesNotRead, listed, products
from backends.prices import partition

LISTS = Path(__file__).parents[2] / "data" / "price_list"
GRAVITON = json.loads((LISTS / "c8g.xlarge_us-east-1.json").read_text())
BEIJING = json.loads((LISTS / "c7g.xlarge_cn-north-1.json").read_text())
HERE = ("c8g.xlarge", "us-east-1")


def client():
    return boto3.client(
        "pricing", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


def question(token=None):
    fields = {**price_list.FILTERS, "instanceType": HERE[0], "regionCode": HERE[1]}
    asked = {
        "ServiceCode": "AmazonEC2",
        "FormatVersion": "aws_v1",
        "Filters": [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in fields.items()],
    }
    return asked if token is None else {**asked, "NextToken": token}


def answer(*texts, token=None):
    page = {"FormatVersion": "aws_v1", "PriceList": list(texts)}
    return page if token is None else {**page, "NextToken": token}


def test_the_list_is_asked_page_by_page_for_linux_on_shared_hardware():
    asked = client()
    with Stubber(asked) as stub:
        stub.add_response("get_products", answer("1", token="t"), question())
        stub.add_response("get_products", answer("2"), question("t"))
        assert products(asked, *HERE) == ["1", "2"]
        stub.assert_no_pending_responses()


def test_a_list_without_end_is_given_up():
    asked = client()
    with Stubber(asked) as stub:
        for i in range(price_list.PAGES):
            stub.add_response("get_products", answer("1", token="t"), question("t" if i else None))
        with pytest.raises(PricesNotRead, match="more than 20 pages"):
            products(asked, *HERE)


def read(*found, where=HERE):
    return listed([json.dumps(product) for product in found], *where)


def test_on_demand_and_one_year_reserved_without_upfront_are_taken():
    prices, problems = read(GRAVITON)
    assert problems == []
    assert prices == [
        Listed(*HERE, "on_demand", 0.15952, "USD"),
        Listed(*HERE, "reserved", 0.1055, "USD"),
    ]


def test_china_is_listed_in_yuan():
    where = ("c7g.xlarge", "cn-north-1")
    assert read(BEIJING, where=where) == ([Listed(*where, "on_demand", 0.99, "CNY")], [])


def changed(amount=None, unit=None, attribute=None):
    product = copy.deepcopy(GRAVITON)
    del product["terms"]["Reserved"]
    (offer,) = product["terms"]["OnDemand"].values()
    (dimension,) = offer["priceDimensions"].values()
    if amount is not None:
        dimension["pricePerUnit"]["USD"] = amount
    if unit is not None:
        dimension["unit"] = unit
    product["product"]["attributes"].update(attribute or {})
    return product


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "not in the list"),
        ([changed(amount="0.0000000000")], "on_demand is listed at 0"),
        ([changed(amount="free")], "on_demand is listed at 0"),
        ([changed(unit="Quantity")], "listed without a price an hour"),
        ([changed(attribute={"instanceType": "c8g.2xlarge"})], "a product of another instance"),
        ([changed(attribute={"regionCode": "us-west-2"})], "a product of another instance"),
        ([{"product": {}}], "a product of an unknown shape"),
    ],
)
def test_what_is_no_price_is_told_and_not_taken(found, said):
    prices, problems = read(*found)
    assert prices == []
    assert len(problems) == 1
    assert said in problems[0]
    assert problems[0].startswith("c8g.xlarge in us-east-1: ")


def test_two_products_that_disagree_are_told_and_the_same_twice_is_one():
    prices, problems = read(GRAVITON, changed(amount="0.2"))
    assert [price.per_hour for price in prices] == [0.15952, 0.1055]
    assert problems == ["c8g.xlarge in us-east-1: on_demand is listed twice: 0.15952 and 0.2 USD"]
    assert read(GRAVITON, GRAVITON) == read(GRAVITON)


def test_a_text_that_is_no_json_is_told():
    assert listed(["{"], *HERE) == ([], ["c8g.xlarge in us-east-1: a product of an unknown shape"])


DENIED = {"Error": {"Code": "AccessDeniedException", "Message": "AKIASECRET is not allowed"}}


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (NoCredentialsError(), "no AWS credentials are found"),
        (ClientError(DENIED, "GetProducts"), "AWS refuses: AccessDeniedException"),
        (EndpointConnectionError(endpoint_url="https://x"), "AWS can't be reached (Endpoint"),
    ],
)
def test_what_goes_wrong_is_told_without_a_credential(raised, said):
    told = price_list._told(raised)
    assert said in told
    assert "AKIA" not in told


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-west-2", "api.pricing.us-east-1.amazonaws.com"),
        ("cn-north-1", "api.pricing.cn-northwest-1.amazonaws.com.cn"),
        ("cn-northwest-1", "api.pricing.cn-northwest-1.amazonaws.com.cn"),
    ],
)
def test_the_list_of_a_region_is_asked_for_in_its_partition(region, host):
    where = price_list.ENDPOINTS[partition(region)]
    client = boto3.client(
        "pricing", region_name=where, aws_access_key_id="x", aws_secret_access_key="x"
    )
    assert client.meta.endpoint_url == f"https://{host}"
