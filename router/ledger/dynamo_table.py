"""One DynamoDB table: expressions, transactions, errors.

Numbers are written as they are, never as floats' shadows: nano-USD stay integers.
"""

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from router.aws_api import ApiError, AwsFailed
from router.ledger.port import LedgerUnavailable

Item = dict[str, Any]
Key = tuple[str, str]
LEASES = "leases"  # the sparse index: only open reservations have `lease` and `due_ms`
TRIES = 6  # of a transaction that another one came across
FIRST_WAIT_S = 0.01
_AGAIN = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
_HASH, _RANGE = "HASH", "RANGE"


class Client(Protocol):
    """DynamoDB as router.aws_api.Api calls it; any thread may. Raises AwsFailed."""

    def call(self, operation: str, body: Mapping[str, Any], /) -> dict[str, Any]: ...


def definition(name: str) -> dict[str, Any]:
    """Return what `create_table` needs; the attribute `gone_s` is the TTL."""
    strings = [{"AttributeName": part, "AttributeType": "S"} for part in ("pk", "sk", "lease")]
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [*strings, {"AttributeName": "due_ms", "AttributeType": "N"}],
        "KeySchema": _schema("pk", "sk"),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": LEASES,
                "KeySchema": _schema("lease", "due_ms"),
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }


def _schema(one: str, other: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": one, "KeyType": _HASH},
        {"AttributeName": other, "KeyType": _RANGE},
    ]


class Unmet(Exception):  # noqa: N818 (a condition that does not hold is no error)
    """Conditions did not hold; `old`: by the operation's number, the item as it is, {}: none."""

    def __init__(self, old: dict[int, Item]) -> None:
        super().__init__(f"operations {sorted(old)}")
        self.old = old


class Table:
    """Every method is one round trip, but `query`, which takes one a page."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self.name = client, name

    def transact(self, operations: Sequence[Item]) -> None:
        """Do all or nothing. Unmet: conditions did not hold."""
        wait_s = FIRST_WAIT_S
        for left in reversed(range(TRIES)):
            try:
                self._client.call("TransactWriteItems", {"TransactItems": operations})
            except ApiError as exc:
                if exc.code != "TransactionCanceledException":
                    raise _unavailable(exc) from exc
                reasons = exc.body["CancellationReasons"]
                if not left or not any(reason["Code"] in _AGAIN for reason in reasons):
                    raise _unmet(exc, reasons) from exc
            except AwsFailed as exc:
                raise _unavailable(exc) from exc
            else:
                return
            time.sleep(wait_s * random.random())  # noqa: S311 (spreads the tries, hides nothing)
            wait_s *= 2

    def put(self, item: Item, condition: str, values: Item) -> None:
        self._single("PutItem", self.putting(item, condition, values)["Put"])

    def update(self, key: Key, change: str, condition: str, values: Item) -> None:
        update = self.updating(key, change, condition, values)["Update"]
        self._single("UpdateItem", update)

    def delete(self, key: Key, condition: str, values: Item) -> None:
        self._single("DeleteItem", self.deleting(key, condition, values)["Delete"])

    def get(self, key: Key) -> Item:
        """Return the item as of now; {}: there is none."""
        asked = {"TableName": self.name, "Key": _key(key), "ConsistentRead": True}
        try:
            found = self._client.call("GetItem", asked)
        except AwsFailed as exc:
            raise _unavailable(exc) from exc
        return plain(found.get("Item", {}))

    def query(
        self,
        condition: str,
        values: Item,
        index: str | None = None,
        *,
        backwards: bool = False,
        page: int | None = None,
    ) -> Iterator[Item]:
        """Yield items in the order of their sort key; `page`: how many a round trip brings."""
        where: Item = {"IndexName": index} if index else {"ConsistentRead": True}
        if backwards:
            where["ScanIndexForward"] = False
        if page is not None:
            where["Limit"] = page
        asked = {
            "TableName": self.name,
            "KeyConditionExpression": condition,
            **where,
            **_expressed(values, condition),
        }
        yield from self._pages("Query", asked)

    def scan(self) -> Iterator[Item]:
        yield from self._pages("Scan", {"TableName": self.name, "ConsistentRead": True})

    def putting(self, item: Item, condition: str, values: Item) -> Item:
        return {"Put": {**self._on(condition, values, condition), "Item": _written(item)}}

    def updating(self, key: Key, change: str, condition: str, values: Item) -> Item:
        parts = self._on(condition, values, condition, change)
        return {"Update": {**parts, "Key": _key(key), "UpdateExpression": change}}

    def deleting(self, key: Key, condition: str, values: Item) -> Item:
        return {"Delete": {**self._on(condition, values, condition), "Key": _key(key)}}

    def checking(self, key: Key, condition: str, values: Item) -> Item:
        return {"ConditionCheck": {**self._on(condition, values, condition), "Key": _key(key)}}

    def _on(self, condition: str, values: Item, *texts: str) -> Item:
        return {
            "TableName": self.name,
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **_expressed(values, *texts),
        }

    def _single(self, operation: str, asked: Item) -> None:
        try:
            self._client.call(operation, asked)
        except ApiError as exc:
            if exc.code == "ConditionalCheckFailedException":
                raise Unmet({0: plain(exc.body.get("Item", {}))}) from exc
            raise _unavailable(exc) from exc
        except AwsFailed as exc:
            raise _unavailable(exc) from exc

    def _pages(self, operation: str, asked: Item) -> Iterator[Item]:
        while True:
            try:
                page = self._client.call(operation, asked)
            except AwsFailed as exc:
                raise _unavailable(exc) from exc
            yield from map(plain, page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            asked = {**asked, "ExclusiveStartKey": page["LastEvaluatedKey"]}


def _unmet(exc: ApiError, reasons: Sequence[Item]) -> Exception:
    old = {
        number: plain(reason.get("Item", {}))
        for number, reason in enumerate(reasons)
        if reason["Code"] == "ConditionalCheckFailed"
    }
    return Unmet(old) if old else _unavailable(exc)


def _unavailable(exc: AwsFailed) -> LedgerUnavailable:
    return LedgerUnavailable(f"the ledger could not be used: {exc}")


def _expressed(values: Item, *texts: str) -> Item:
    """Return the names (#name) and values (:value) that the texts use."""
    text = " ".join(texts)
    names = {name: name[1:] for name in re.findall(r"#\w+", text)}
    used = {name: values[name[1:]] for name in re.findall(r":\w+", text)}
    parts: Item = {"ExpressionAttributeNames": names} if names else {}
    return {**parts, "ExpressionAttributeValues": _written(used)} if used else parts


def _key(key: Key) -> Item:
    return _written({"pk": key[0], "sk": key[1]})


def _written(values: Mapping[str, Any]) -> Item:
    return {name: _value(value) for name, value in values.items() if value is not None}


def _value(value: str | float | bool) -> Item:
    if isinstance(value, str):
        return {"S": value}
    return {"BOOL": value} if isinstance(value, bool) else {"N": repr(value)}


def plain(item: Item) -> Item:
    """Return an item as DynamoDB writes it in Python's values."""
    return {name: _plain(*next(iter(value.items()))) for name, value in item.items()}


def _plain(kind: str, value: Any) -> Any:  # noqa: ANN401 (what the item has)
    if kind != "N":
        return value
    return int(value) if value.lstrip("-").isdigit() else float(value)
