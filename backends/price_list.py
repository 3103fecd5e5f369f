"""The AWS Price List Query API: the hourly prices of instance types, from where AWS says them.

* PricesNotRead    nothing could be fetched: why, and what to do

Spot prices, capacity blocks and savings plans are not in that list.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.prices import partition

SERVICE = "AmazonEC2"
ENDPOINTS = {"aws": "us-east-1", "aws-cn": "cn-northwest-1"}  # the API lives in a few regions only
PAGES = 20  # of one instance type in one region; more is a filter that doesn't hold
SOURCE = "AWS Price List Query API"
# Linux on shared hardware, nothing preinstalled, as used: one product of an instance type.
FILTERS = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}
RESERVED = {
    "LeaseContractLength": "1yr",
    "OfferingClass": "standard",
    "PurchaseOption": "No Upfront",
}


class PricesNotRead(Exception):  # noqa: N818  (it reads as what it says)
    """The list could not be read; what was known stays."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One price as the list has it: an amount an hour in its partition's currency."""

    instance: str
    region: str
    purchase: str
    per_hour: float
    currency: str


def fetch(instance: str, region: str) -> list[str]:
    """Return the products of an instance type in a region, each a JSON text; raise PricesNotRead.

    Credentials are those of the environment, as boto3 finds them.
    """
    try:
        import boto3  # noqa: PLC0415  (optional, and slow to import)
        from botocore.config import Config  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    except ImportError:
        said = "boto3 is not installed: install `sluice[aws]`, or `pip install boto3`"
        raise PricesNotRead(said) from None
    quick = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3})
    try:
        client = boto3.client("pricing", region_name=ENDPOINTS[partition(region)], config=quick)
        return products(client, instance, region)
    except (BotoCoreError, ClientError) as exc:
        raise PricesNotRead(_told(exc)) from None


def products(client: Any, instance: str, region: str) -> list[str]:  # noqa: ANN401  (boto3's)
    """Ask page by page; `client` is a boto3 client of `pricing`."""
    wanted = {**FILTERS, "instanceType": instance, "regionCode": region}
    question: dict[str, Any] = {
        "ServiceCode": SERVICE,
        "FormatVersion": "aws_v1",
        "Filters": [
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in wanted.items()
        ],
    }
    found: list[str] = []
    for _ in range(PAGES):
        page = client.get_products(**question)
        found += page["PriceList"]
        if not page.get("NextToken"):
            return found
        question["NextToken"] = page["NextToken"]
    raise PricesNotRead(f"{instance} in {region}: more than {PAGES} pages of products")


def listed(texts: Iterable[str], instance: str, region: str) -> tuple[list[Listed], list[str]]:
    """Return the prices that these products tell, and what could not be used."""
    problems: list[str] = []
    seen: dict[str, Listed] = {}
    count = 0
    for text in texts:
        count += 1
        try:
            product = json.loads(text)
            terms = product["terms"]
            attributes = product["product"]["attributes"]
        except (ValueError, KeyError, TypeError):
            problems.append(f"{instance} in {region}: a product of an unknown shape")
            continue
        if attributes.get("instanceType") != instance or attributes.get("regionCode") != region:
            problems.append(f"{instance} in {region}: a product of another instance or region")
            continue
        for purchase, per_hour, currency in _prices(terms):
            old = seen.get(purchase)
            if per_hour <= 0:
                problems.append(f"{instance} in {region}: {purchase} is listed at {per_hour:g}")
            elif old is not None and old.per_hour != per_hour:
                said = f"{old.per_hour:g} and {per_hour:g} {currency}"
                problems.append(f"{instance} in {region}: {purchase} is listed twice: {said}")
            else:
                seen[purchase] = Listed(instance, region, purchase, per_hour, currency)
    if not count:
        problems.append(f"{instance} in {region}: not in the list")
    elif not seen and not problems:
        problems.append(f"{instance} in {region}: listed without a price an hour")
    return list(seen.values()), problems


def _prices(terms: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    for offer in _offers(terms, "OnDemand"):
        yield from (("on_demand", *price) for price in _hourly(offer))
    for offer in _offers(terms, "Reserved"):
        if offer.get("termAttributes") == RESERVED:
            yield from (("reserved", *price) for price in _hourly(offer))


def _offers(terms: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    offers = terms.get(kind)
    if isinstance(offers, Mapping):
        yield from (offer for offer in offers.values() if isinstance(offer, Mapping))


def _hourly(offer: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    """Return amount and currency of the dimension that is paid by the hour."""
    for dimension in offer.get("priceDimensions", {}).values():
        if dimension.get("unit") != "Hrs":
            continue
        for currency, amount in dimension.get("pricePerUnit", {}).items():
            try:
                yield float(amount), currency
            except (TypeError, ValueError):
                yield 0.0, currency


def _told(exc: Exception) -> str:
    """Say why the list could not be read, in words that hold no credential."""
    name = type(exc).__name__
    if name in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}:
        return "no AWS credentials are found: set them as for any AWS tool (`pricing:GetProducts`)"
    if name == "ClientError":
        response = getattr(exc, "response", {})
        code = response.get("Error", {}).get("Code", "unknown")
        return f"AWS refuses: {code} (the action is `pricing:GetProducts`)"
    return f"AWS can't be reached ({name})"
