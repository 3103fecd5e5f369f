"""What a call to DynamoDB takes of the processor: our client beside botocore's, in one run.

Against the tests' server in a process of its own, so only the callers' CPU is counted. The start
(import, client, first call) is a fresh process each, turn by turn; calls alternate in batches.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ledger_support import aws_environment, dynamo_client, dynamo_server

from router.ledger.dynamo_table import definition

STARTS, ROUNDS, BATCH = 5, 12, 25
TABLE: Final = "bench"
KEY: Final = {"pk": {"S": "a"}, "sk": {"S": "b"}}
GET: Final[dict[str, Any]] = {"TableName": TABLE, "Key": KEY, "ConsistentRead": True}
UPDATE: Final[dict[str, Any]] = {
    "TableName": TABLE,
    "UpdateExpression": "SET #avail = :avail",
    "ConditionExpression": "attribute_not_exists(#gone)",
    "ExpressionAttributeNames": {"#avail": "avail", "#gone": "gone"},
    "ExpressionAttributeValues": {":avail": {"N": "123456789"}},
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
}
TRANSACTION: Final[dict[str, Any]] = {
    "TransactItems": [
        {"Update": UPDATE | {"Key": {"pk": {"S": f"S#{n}"}, "sk": {"S": "x"}}}} for n in range(4)
    ]
}

BARE = "pass"
OURS = """
from router.aws_api import Api
Api("dynamodb", "us-east-1", {environment}).call("GetItem", {get})
"""
BOTOCORE = """
from botocore.session import Session
client = Session().create_client("dynamodb", region_name="us-east-1", endpoint_url="{address}",
    aws_access_key_id="test", aws_secret_access_key="test")
client.get_item(**{get})
"""
BOTO3 = """
import boto3
client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url="{address}",
    aws_access_key_id="test", aws_secret_access_key="test")
client.get_item(**{get})
"""
TIMED = """
import time
begun = time.process_time()
{code}
print(time.process_time() - begun)
"""


def start_s(code: str, before: str = "") -> float:
    """Return the CPU seconds of this code in a process of its own."""
    said = subprocess.run(  # noqa: S603 (our own code)
        [sys.executable, "-c", before + TIMED.format(code=code)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(said.stdout)


def botocore_client(address: str) -> Any:  # noqa: ANN401 (its classes are made as it goes)
    from botocore.session import Session  # noqa: PLC0415 (it is what is measured)

    return Session().create_client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=address,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 (the test server takes any)
    )


def call_us(call: Callable[[], object]) -> float:
    begun = time.process_time()
    for _ in range(BATCH):
        call()
    return (time.process_time() - begun) / BATCH * 1e6


def main() -> None:
    with dynamo_server() as address:
        ours, theirs = dynamo_client(address), botocore_client(address)
        ours.call("CreateTable", definition(TABLE))
        filled = {"address": address, "get": GET, "environment": aws_environment(address)}
        # A router has most of what ours imports already; botocore it would have none of.
        codes = {
            "ours": (OURS, ""),
            "ours, in a router": (OURS, "import router.entry"),
            "botocore": (BOTOCORE, ""),
            "botocore, in a router": (BOTOCORE, "import router.entry"),
            "boto3": (BOTO3, ""),
        }
        starts: dict[str, list[float]] = {name: [] for name in codes}
        for _ in range(STARTS):
            for name, (code, before) in codes.items():
                starts[name].append(start_s(code.format(**filled), before))
        print("\nDynamoDB: CPU of import, client and first call (ms, median of fresh processes)")
        for name, found in starts.items():
            print(f"  {name:24} {statistics.median(found) * 1e3:8.1f}")
        ratio = statistics.median(starts["botocore, in a router"]) / statistics.median(
            starts["ours, in a router"]
        )
        print(f"  botocore / ours in a router {ratio:5.1f}")
        calls = {
            "GetItem": (lambda: ours.call("GetItem", GET), lambda: theirs.get_item(**GET)),
            "TransactWriteItems, 4": (
                lambda: ours.call("TransactWriteItems", TRANSACTION),
                lambda: theirs.transact_write_items(**TRANSACTION),
            ),
        }
        print("CPU of a call (us, median of batches)            ours  botocore  ratio")
        for name, (mine, other) in calls.items():
            pairs = [(call_us(mine), call_us(other)) for _ in range(ROUNDS)]
            one, two = (statistics.median(part) for part in zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs)
            print(f"  {name:44} {one:8.0f} {two:8.0f} {ratio:6.1f}")


if __name__ == "__main__":
    main()
