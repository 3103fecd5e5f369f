"""The table is the one that the ledger's tests use; the lake's tables have the workers' columns."""

import pytest

from router.ledger.dynamo_table import definition
from router.workers import columns, queries


@pytest.fixture
def state(synthesised):
    return synthesised.stack("prod", "State")


def test_the_table_is_the_one_that_the_ledger_is_tested_with(state):
    table, wanted = state.one("DynamoDB::Table"), definition("sluice-prod")

    def by_name(rows):
        return sorted(rows, key=lambda row: row["AttributeName"])

    for part in ("TableName", "KeySchema", "BillingMode", "GlobalSecondaryIndexes"):
        assert table[part] == wanted[part], part
    attributes = "AttributeDefinitions"
    assert by_name(table[attributes]) == by_name(wanted[attributes])


def test_the_table_forgets_by_itself_can_be_restored_and_tells_its_changes(state):
    table = state.one("DynamoDB::Table")
    assert table["TimeToLiveSpecification"] == {"AttributeName": "gone_s", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_prod_has_one_key_that_rotates_and_a_small_stage_has_none(synthesised, state):
    assert state.one("KMS::Key")["EnableKeyRotation"]
    assert state.one("DynamoDB::Table")["SSESpecification"]["SSEType"] == "KMS"
    small = synthesised.stack("dev", "State")
    assert not small.all("KMS::Key")
    assert small.one("DynamoDB::Table")["SSESpecification"] == {"SSEEnabled": False}


def test_rows_become_parquet_of_the_columns_that_the_workers_write(state):
    tables = {one["TableInput"]["Name"]: one["TableInput"] for one in state.all("Glue::Table")}
    assert set(tables) == {"rows", *columns.TABLES}
    for name, wanted in {**columns.TABLES, "rows": columns.ROWS}.items():
        found = tables[name]["StorageDescriptor"]["Columns"]
        assert [(one["Name"], one["Type"]) for one in found] == list(wanted.items())
        assert [one["Name"] for one in tables[name]["PartitionKeys"]] == [columns.PARTITION]


def test_the_streams_write_where_the_tables_look(state):
    streams = {
        one["DeliveryStreamName"]: one["ExtendedS3DestinationConfiguration"]
        for one in state.all("KinesisFirehose::DeliveryStream")
    }
    rows, receipts = streams["sluice-prod-rows"], streams["sluice-prod-receipts"]
    assert rows["Prefix"] == f"rows/{columns.PARTITION}=!{{timestamp:yyyy-MM-dd}}/"
    schema = rows["DataFormatConversionConfiguration"]["SchemaConfiguration"]
    assert (schema["DatabaseName"], schema["TableName"]) == ("sluice_prod", "rows")
    assert receipts["CompressionFormat"] == "GZIP"
    assert "DataFormatConversionConfiguration" not in receipts
    for stream in streams.values():
        assert stream["ErrorOutputPrefix"].startswith("errors/")


def test_the_saved_queries_are_there_to_be_run(state):
    saved = state.all("Athena::NamedQuery")
    assert {found["QueryString"] for found in saved} == set(queries.QUERIES.values())
    assert {found["WorkGroup"] for found in saved} == {"sluice-prod"}


def test_a_query_that_reads_too_much_is_ended(state):
    group = state.one("Athena::WorkGroup")["WorkGroupConfiguration"]
    assert group["EnforceWorkGroupConfiguration"]
    assert group["BytesScannedCutoffPerQuery"] == 10 * 1024**3
    assert group["ResultConfiguration"]["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"


def test_the_streams_have_a_log_to_tell_their_faults_in(state):
    """Firehose makes none: without it a failed delivery is told nowhere."""
    there = {
        (one["LogGroupName"]["Ref"], one["LogStreamName"]) for one in state.all("Logs::LogStream")
    }
    told = state.whole("Logs::LogStream")
    for stream in state.all("KinesisFirehose::DeliveryStream"):
        options = stream["ExtendedS3DestinationConfiguration"]["CloudWatchLoggingOptions"]
        assert options["Enabled"]
        log = state.resources[options["LogStreamName"]["Ref"]]
        assert log in told
        assert (options["LogGroupName"]["Ref"], log["Properties"]["LogStreamName"]) in there


def test_the_streams_end_before_a_small_stages_lake_is_emptied(synthesised):
    small = synthesised.stack("dev", "State")
    (emptier,) = (
        logical
        for logical, one in small.resources.items()
        if one["Type"] == "Custom::S3AutoDeleteObjects"
    )
    for stream in small.whole("KinesisFirehose::DeliveryStream"):
        assert emptier in stream["DependsOn"]


def test_a_workgroup_goes_although_queries_ran_in_it(synthesised):
    for stage in ("dev", "prod"):
        assert synthesised.stack(stage, "State").one("Athena::WorkGroup")["RecursiveDeleteOption"]
