"""What is kept: the table of ledger, budgets, keys and load; the lake of ledger rows and receipts.

Keys: a small stage uses those that AWS owns, at no price. A prod stage has one KMS key of its own
for table and lake: who reads the ledger is then audited and can be cut off at one place, for $1 a
month and calls that DynamoDB and S3 bundle (a data key serves minutes, a bucket key a day).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_dynamodb as ddb
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.reasons import acknowledge
from router.deploy.stage import Stage
from router.ledger import dynamo_table
from router.workers import columns, queries

TTL: Final = "gone_s"
MOST_SCANNED: Final = 10 * 1024**3  # bytes of one Athena query: $0.05
RECEIPT_DAYS: Final[Mapping[str, int]] = MappingProxyType({"small": 30, "prod": 400})
ROWS, RECEIPTS, ATHENA = "rows", "receipts", "athena"
# What DynamoDB and S3 do with the key, in the name of who calls them.
KEY_USES: Final = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey")
DAY = "!{timestamp:yyyy-MM-dd}"


class State(Construct):
    """`key` None: the keys that AWS owns. `database`: the Glue database's name."""

    def __init__(self, scope: Construct, construct_id: str, *, stage: Stage) -> None:
        super().__init__(scope, construct_id)
        self._stage, self._kept = stage, stage.size == "prod"
        self._removal = RemovalPolicy.RETAIN if self._kept else RemovalPolicy.DESTROY
        self.key = self._key() if self._kept else None
        self.table = self._table()
        self.lake = self._lake()
        self.database = stage.prefix.replace("-", "_")
        rows = self._tables()
        self.rows_stream = self._stream(ROWS, buffer_mb=64, rows=rows)
        self.receipts_stream = self._stream(RECEIPTS, buffer_mb=16)
        self.workgroup = self._workgroup()
        self._saved()

    def _key(self) -> kms.Key:
        return kms.Key(
            self,
            "Key",
            description=f"Ledger and lake of {self._stage.prefix}",
            enable_key_rotation=True,
            removal_policy=self._removal,
        )

    def _table(self) -> ddb.Table:
        """Make of the definition that the tests' tables are made of."""
        wanted = dynamo_table.definition(self._stage.prefix)
        kinds = {one["AttributeName"]: one for one in wanted["AttributeDefinitions"]}

        def attributes(schema: list[dict[str, str]]) -> list[ddb.Attribute]:
            names = [part["AttributeName"] for part in schema]
            types = {"S": ddb.AttributeType.STRING, "N": ddb.AttributeType.NUMBER}
            return [
                ddb.Attribute(name=name, type=types[kinds[name]["AttributeType"]]) for name in names
            ]

        partition, sort = attributes(wanted["KeySchema"])
        encryption = ddb.TableEncryption
        table = ddb.Table(
            self,
            "Table",
            table_name=wanted["TableName"],
            partition_key=partition,
            sort_key=sort,
            billing_mode=ddb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute=TTL,
            stream=ddb.StreamViewType.NEW_AND_OLD_IMAGES,
            point_in_time_recovery_specification=ddb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=encryption.CUSTOMER_MANAGED if self.key else encryption.DEFAULT,
            encryption_key=self.key,
            deletion_protection=self._kept,
            removal_policy=self._removal,
        )
        for index in wanted["GlobalSecondaryIndexes"]:
            partition, sort = attributes(index["KeySchema"])
            table.add_global_secondary_index(
                index_name=index["IndexName"],
                partition_key=partition,
                sort_key=sort,
                projection_type=ddb.ProjectionType(index["Projection"]["ProjectionType"]),
            )
        return table

    def _lake(self) -> s3.Bucket:
        def gone(prefix: str, days: int) -> s3.LifecycleRule:
            return s3.LifecycleRule(id=prefix, prefix=f"{prefix}/", expiration=Duration.days(days))

        rarely = s3.Transition(
            storage_class=s3.StorageClass.INTELLIGENT_TIERING,
            transition_after=Duration.days(30),
        )
        lake = s3.Bucket(
            self,
            "Lake",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            encryption=s3.BucketEncryption.KMS if self.key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=self.key,
            bucket_key_enabled=self.key is not None,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="broken uploads", abort_incomplete_multipart_upload_after=Duration.days(7)
                ),
                s3.LifecycleRule(id=ROWS, prefix=f"{ROWS}/", transitions=[rarely]),
                gone(RECEIPTS, RECEIPT_DAYS[self._stage.size]),
                gone("errors", 30),
                gone(ATHENA, 7),
            ],
            removal_policy=self._removal,
            auto_delete_objects=not self._kept,
        )
        said = "nobody but Firehose writes it; who reads it is in CloudTrail's events of data"
        acknowledge(lake, {"S1": said})
        return lake

    def _tables(self) -> glue.CfnTable:
        """Make Glue's database and tables; return the one whose columns are what Firehose writes.

        All read the same files, by day; days are counted (partition projection), never crawled.
        """
        database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=Aws.ACCOUNT_ID,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=self.database, description=f"Ledger of {self._stage.prefix}"
            ),
        )
        tables = {**columns.TABLES, ROWS: columns.ROWS}
        made = {name: self._glue_table(name, found) for name, found in tables.items()}
        for table in made.values():
            table.add_resource_dependency(database)
        return made[ROWS]

    def _glue_table(self, name: str, found: columns.Columns) -> glue.CfnTable:
        table, day = glue.CfnTable, columns.PARTITION
        location = f"s3://{self.lake.bucket_name}/{ROWS}/"
        parquet = "org.apache.hadoop.hive.ql.io.parquet"
        return table(
            self,
            f"{name.title().replace('_', '')}Table",
            catalog_id=Aws.ACCOUNT_ID,
            database_name=self.database,
            table_input=table.TableInputProperty(
                name=name,
                table_type="EXTERNAL_TABLE",
                parameters={
                    "classification": "parquet",
                    "projection.enabled": "true",
                    f"projection.{day}.type": "date",
                    f"projection.{day}.format": "yyyy-MM-dd",
                    f"projection.{day}.range": "2026-01-01,NOW+1DAY",
                    "storage.location.template": f"{location}{day}=${{{day}}}/",
                },
                partition_keys=[table.ColumnProperty(name=day, type="string")],
                storage_descriptor=table.StorageDescriptorProperty(
                    columns=[
                        table.ColumnProperty(name=at, type=kind) for at, kind in found.items()
                    ],
                    location=location,
                    input_format=f"{parquet}.MapredParquetInputFormat",
                    output_format=f"{parquet}.MapredParquetOutputFormat",
                    serde_info=table.SerdeInfoProperty(
                        serialization_library=f"{parquet}.serde.ParquetHiveSerDe"
                    ),
                ),
            ),
        )

    def _stream(
        self, name: str, *, buffer_mb: int, rows: glue.CfnTable | None = None
    ) -> firehose.CfnDeliveryStream:
        """Make a stream into the lake; with a table, its lines become Parquet of these columns."""
        named = f"{self._stage.prefix}-{name}"
        log = logs.LogGroup(
            self,
            f"{name.title()}Log",
            log_group_name=f"/sluice/{self._stage.name}/firehose/{name}",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        # Firehose writes into a log's stream, and makes none.
        told = logs.LogStream(
            self,
            f"{name.title()}Told",
            log_group=log,
            log_stream_name="delivery",
            removal_policy=RemovalPolicy.DESTROY,
        )
        role = self._stream_role(name, log, rows)
        made = firehose.CfnDeliveryStream
        stream = made(
            self,
            f"{name.title()}Stream",
            delivery_stream_name=named,
            delivery_stream_type="DirectPut",
            delivery_stream_encryption_configuration_input=(
                made.DeliveryStreamEncryptionConfigurationInputProperty(key_type="AWS_OWNED_CMK")
            ),
            extended_s3_destination_configuration=(
                made.ExtendedS3DestinationConfigurationProperty(
                    bucket_arn=self.lake.bucket_arn,
                    role_arn=role.role_arn,
                    prefix=f"{name}/{columns.PARTITION}={DAY}/",
                    error_output_prefix=f"errors/{name}/!{{firehose:error-output-type}}/{DAY}/",
                    buffering_hints=made.BufferingHintsProperty(
                        interval_in_seconds=300, size_in_m_bs=buffer_mb
                    ),
                    compression_format="GZIP" if rows is None else "UNCOMPRESSED",
                    cloud_watch_logging_options=made.CloudWatchLoggingOptionsProperty(
                        enabled=True,
                        log_group_name=log.log_group_name,
                        log_stream_name=told.log_stream_name,
                    ),
                    data_format_conversion_configuration=(
                        None if rows is None else self._to_parquet(role)
                    ),
                )
            ),
        )
        # The lake too: when all is deleted the stream ends first, and writes nothing into a lake
        # that was just emptied.
        stream.node.add_dependency(role, self.lake)
        if rows is not None:
            stream.add_resource_dependency(rows)
        return stream

    def _to_parquet(
        self, role: iam.Role
    ) -> firehose.CfnDeliveryStream.DataFormatConversionConfigurationProperty:
        made = firehose.CfnDeliveryStream
        return made.DataFormatConversionConfigurationProperty(
            enabled=True,
            input_format_configuration=made.InputFormatConfigurationProperty(
                deserializer=made.DeserializerProperty(
                    open_x_json_ser_de=made.OpenXJsonSerDeProperty()
                )
            ),
            output_format_configuration=made.OutputFormatConfigurationProperty(
                serializer=made.SerializerProperty(
                    parquet_ser_de=made.ParquetSerDeProperty(compression="SNAPPY")
                )
            ),
            schema_configuration=made.SchemaConfigurationProperty(
                catalog_id=Aws.ACCOUNT_ID,
                database_name=self.database,
                region=self._stage.region,
                role_arn=role.role_arn,
                table_name=ROWS,
                version_id="LATEST",
            ),
        )

    def _stream_role(self, name: str, log: logs.LogGroup, rows: glue.CfnTable | None) -> iam.Role:
        role = iam.Role(
            self,
            f"{name.title()}Role",
            assumed_by=iam.ServicePrincipal("firehose.amazonaws.com"),
        )

        def may(*actions: str, on: list[str]) -> None:
            role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=on))

        may("s3:GetBucketLocation", "s3:ListBucketMultipartUploads", on=[self.lake.bucket_arn])
        written = [self.lake.arn_for_objects(f"{at}/*") for at in (name, f"errors/{name}")]
        may("s3:PutObject", "s3:AbortMultipartUpload", on=written)
        may("logs:PutLogEvents", on=[log.log_group_arn])  # it ends in `:*`: all its streams
        if self.key is not None:
            may(*KEY_USES, on=[self.key.key_arn])
        if rows is not None:
            base = f"arn:{Aws.PARTITION}:glue:{Aws.REGION}:{Aws.ACCOUNT_ID}"
            of_rows = ["catalog", f"database/{self.database}", f"table/{self.database}/{ROWS}"]
            actions = ("glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions")
            may(*actions, on=[f"{base}:{part}" for part in of_rows])
        lake = self.lake.node.default_child
        assert isinstance(lake, s3.CfnBucket)
        at = f"<{Stack.of(self).resolve(lake.logical_id)}.Arn>"
        one_folder = "it writes below the one folder of its rows"
        below = [f"IAM5[Resource::{at}/{place}/*]" for place in (name, f"errors/{name}")]
        acknowledge(role, dict.fromkeys(below, one_folder))
        return role

    def _saved(self) -> None:
        for name, text in queries.QUERIES.items():
            query = athena.CfnNamedQuery(
                self,
                "".join(word.capitalize() for word in name.split("-")),
                name=f"{self._stage.prefix}-{name}",
                description=text.partition("\n")[0].removeprefix("-- "),
                database=self.database,
                work_group=self.workgroup.name,
                query_string=text,
            )
            query.add_resource_dependency(self.workgroup)

    def _workgroup(self) -> athena.CfnWorkGroup:
        group = athena.CfnWorkGroup
        sealed = (
            group.EncryptionConfigurationProperty(encryption_option="SSE_S3")
            if self.key is None
            else group.EncryptionConfigurationProperty(
                encryption_option="SSE_KMS", kms_key=self.key.key_arn
            )
        )
        return group(
            self,
            "Workgroup",
            name=self._stage.prefix,
            description="Queries of the ledger",
            recursive_delete_option=True,  # with the list of queries that ran, which keeps it else
            work_group_configuration=group.WorkGroupConfigurationProperty(
                bytes_scanned_cutoff_per_query=MOST_SCANNED,
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                result_configuration=group.ResultConfigurationProperty(
                    output_location=f"s3://{self.lake.bucket_name}/{ATHENA}/",
                    encryption_configuration=sealed,
                ),
            ),
        )
