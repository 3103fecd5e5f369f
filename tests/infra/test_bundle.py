"""The bundle: what it holds, that it is the same every time, and that it serves alone.

It is started as the Lambda Web Adapter would: its handler in an empty environment, by a Python
without our packages, until its readiness path answers.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import boto3
import httpx
import pytest
import yaml
from appconfig_server import PLACE, AppConfig
from ledger_support import aws_environment, dynamo_client, dynamo_server, wrong
from stages import ROOT, examples
from support import (
    DONE,
    EVENTS,
    USAGE_EVENT,
    Upstream,
    catalogue,
    fleet,
    freeze,
    plain,
    policy,
    sluice,
    thaw,
    wait_until,
)

from infra import bundling
from router.ledger.dynamo import DynamoLedger
from router.ledger.dynamo_table import definition

ALWAYS = ("2000-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z")
BUDGET = "budgets:\n  - {id: all, match: {}, usd: 1, per: day, when_spent: reject}\n"
TABLE = "sluice-bundle"
AARCH64 = 183  # e_machine of an ELF file: EM_AARCH64
MB = 1_000_000


@pytest.fixture(scope="module")
def for_lambda(tmp_path_factory):
    return bundling.bundle(examples()["dev"], tmp_path_factory.mktemp("lambda"))


def digest(folder):
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        whole.update(f"{path.relative_to(folder)} {path.stat().st_mode:o}\n".encode())
        whole.update(path.read_bytes() if path.is_file() else b"")
    return whole.hexdigest()


# -- what it holds ---------------------------------------------------------------------------------


def test_its_libraries_are_of_lambdas_processor(for_lambda):
    libraries = [path for path in for_lambda.rglob("*.so*") if path.is_file()]
    assert libraries
    for path in libraries:
        head = path.read_bytes()[:20]
        assert head[:4] == b"\x7fELF", path
        assert int.from_bytes(head[18:20], "little") == AARCH64, path


def test_it_is_smaller_than_60_mb_and_says_by_what(for_lambda, capsys):
    sizes = bundling.sizes(for_lambda)
    with capsys.disabled():
        said = ", ".join(f"{name} {size / MB:.1f}" for name, size in sizes.items())
        sys.stdout.write(f"\nbundle {sum(sizes.values()) / MB:.1f} MB: {said}\n")
    assert sum(sizes.values()) < bundling.MOST_MB * MB
    whole = sum(path.stat().st_size for path in for_lambda.rglob("*") if path.is_file())
    assert sum(sizes.values()) == whole


def test_it_leaves_out_what_lambda_has_and_what_a_router_never_reads(for_lambda):
    for name in ("boto3", "botocore", "backends/engines/tiny", "policies/tests", "infra", "tests"):
        assert not (for_lambda / name).exists(), name
    compiled = {path.suffixes[0] for path in for_lambda.rglob("*.pyc")}
    assert compiled <= {".cpython-313"}  # Lambda's Python, where this machine has it
    for name in ("aws_lambda_powertools", "router/workers/observer.py", "yamlfile.py"):
        assert (for_lambda / name).exists(), name


def test_its_handler_may_be_run(for_lambda):
    assert (for_lambda / "run.sh").stat().st_mode & 0o777 == 0o755


def test_its_catalogue_has_the_fleets_of_its_stage_alone(for_lambda):
    written = json.loads((for_lambda / "config" / "fleets.yaml").read_text("utf-8"))
    assert [one["id"] for one in written["fleets"]] == ["qwen3-graviton", "scout-p5"]
    assert (for_lambda / "config" / "cases" / "policy.yaml").is_file()


def test_the_same_stage_makes_the_same_bytes(for_lambda, tmp_path):
    again = bundling.bundle(examples()["dev"], tmp_path / "again")
    assert digest(again) == digest(for_lambda)


def test_a_container_brings_boto3_and_its_dockerfile(tmp_path):
    bundle = bundling.bundle(examples()["steady"], tmp_path / "container")
    assert (bundle / "botocore").is_dir()
    assert (bundle / "Dockerfile").read_text("utf-8").count("USER 10001") == 1


def test_the_command_lists_packages_and_refuses_a_folder_in_use(tmp_path):
    command = [sys.executable, "-m", "infra.bundling", "--platform", "host", "--json", "--out"]
    made = subprocess.run([*command, tmp_path / "b"], capture_output=True, check=True, cwd=ROOT)
    told = json.loads(made.stdout)
    assert told["bytes"] == sum(told["packages"].values())
    assert {"sluice", "uvloop", "orjson"} <= set(told["packages"])
    again = subprocess.run(
        [*command, tmp_path / "b"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_without_uv_it_is_told_what_is_missing(tmp_path):
    command = [sys.executable, "-m", "infra.bundling", "--out", tmp_path / "b"]
    nowhere = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}  # where `make setup` puts it
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=nowhere
    )
    assert ended.returncode == 1
    assert ended.stderr == "uv is not on the PATH: `make setup` says how to get it\n"


# -- alone -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream():
    server = Upstream()
    server.streams(*EVENTS, USAGE_EVENT, DONE)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def dynamo():
    with dynamo_server() as address:
        dynamo_client(address).call("CreateTable", definition(TABLE))
        yield address


@pytest.fixture(scope="module")
def appconfig():
    fake = AppConfig()
    fake.content = json.dumps(yaml.safe_load(policy() + BUDGET)).encode()
    yield fake
    fake.stop()


@pytest.fixture(scope="module")
def receipts(dynamo):
    """A stream of moto's, and what it brought to S3."""
    asked = {"endpoint_url": dynamo, "region_name": "us-east-1"}
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    s3 = boto3.client("s3", **asked, **keys)
    s3.create_bucket(Bucket="lake")
    boto3.client("firehose", **asked, **keys).create_delivery_stream(
        DeliveryStreamName="decisions",
        S3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": "arn:aws:s3:::lake",
        },
    )

    def kept():
        found = s3.list_objects_v2(Bucket="lake").get("Contents", ())
        lines = (s3.get_object(Bucket="lake", Key=one["Key"])["Body"].read() for one in found)
        return [json.loads(line) for line in lines]

    return kept


@pytest.fixture(scope="module")
def served(upstream, dynamo, tmp_path_factory):
    """The address of the bundle's router, its key, and the child's processor time in ms so far."""
    with serving(upstream, dynamo, tmp_path_factory.mktemp("alone")) as running:
        yield running[:3]


@contextlib.contextmanager
def serving(upstream, dynamo, folder, **more):
    """As `served`, with these settings beside; and the process and its log."""
    (folder / "policy.yaml").write_text(policy(), "utf-8")
    config = bundling.Config(catalogue(fleet("one", upstream.url)), folder / "policy.yaml")
    task = bundling.build(config, "host", folder / "task")
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}"))
    aws = {**aws_environment(dynamo), "AWS_REGION": "us-east-1"}
    command = ["keys", "create", "--tenant", "acme", "--state", folder / "state", "--json"]
    made = sluice(*command, env={**os.environ, **aws, "SLUICE_LEDGER": f"dynamodb:{TABLE}"})
    assert made.returncode == 0, made.stderr
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **aws,
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "LAMBDA_TASK_ROOT": str(task),
        "PORT": str(port),
        "SLUICE_STATE": str(folder / "state"),
        "SLUICE_TABLE": TABLE,
        "SLUICE_STAGE": "bundle",
        "SLUICE_NAMESPACE": "Sluice",
        "SLUICE_METRIC_DIMENSIONS": "stage",
        **more,
    }
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [task / "run.sh"], stdout=out, stderr=out, cwd="/", env=environment
        ) as running,
    ):

        def ready():
            assert running.poll() is None, log.read_text("utf-8")
            try:
                return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready)
        try:
            key = json.loads(made.stdout)["key"]
            yield url, key, lambda: processor_ms(running.pid), running, log
        finally:
            thaw(running.pid)
            running.send_signal(signal.SIGTERM)
            running.wait(30)


def processor_ms(pid):
    numbers = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return sum(map(int, numbers[11:13])) * 1000 / os.sysconf("SC_CLK_TCK")


def test_alone_it_answers_a_streamed_request(served, upstream, capsys):
    url, key, spent_ms = served
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {key}"}
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60
    ) as answer:
        events = list(answer.iter_lines())
    with capsys.disabled():
        sys.stdout.write(f"\nfrom start to the first answer: {spent_ms():.0f} ms of processor\n")
    assert answer.status_code == 200, events
    assert events[-2:] == ["data: [DONE]", ""]
    assert any("llo" in line for line in events)
    assert upstream.bodies


def test_alone_it_knows_no_key_that_nobody_made(served):
    url, _, _ = served
    asked = httpx.post(f"{url}/v1/route", json={}, headers={"authorization": "Bearer sk-no"})
    assert asked.status_code == 401


@pytest.mark.parametrize("text", ["hi", "请把这段话翻译成英文：今天天气很好"], ids=["en", "zh"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_alone_with_all_settings_all_is_done_by_the_last_byte(everything, upstream, stream, text):
    url, key, running, log, left = everything
    thaw(running.pid)  # as hours later
    if stream:
        upstream.streams(*EVENTS, USAGE_EVENT, DONE)
    else:
        upstream.answers(plain())
    before = [len(of()) for of in left]
    body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {key}"}
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60
    ) as answer:
        answer.read()
        freeze(running.pid)
    assert answer.status_code == 200, answer.text
    assert [len(of()) for of in left] == [n + 1 for n in before], log.read_text("utf-8")
    charges, receipts, lines = (of() for of in left)
    asked = answer.headers["x-sluice-request-id"]
    assert asked in {receipt["id"] for receipt in receipts}
    (nano,) = (charge.nano for charge in charges if charge.request_id == asked)
    assert lines[-1]["UsdCharged"] == pytest.approx(nano / 1e9)
    assert text not in log.read_text("utf-8")


@pytest.fixture(scope="module")
def everything(upstream, dynamo, appconfig, receipts, tmp_path_factory):
    """The bundle's router with all settings: its address, key, process and log; and what reads its
    charges, receipts and lines of metrics.
    """
    ledger = DynamoLedger(dynamo_client(dynamo), TABLE)
    with serving(
        upstream,
        dynamo,
        tmp_path_factory.mktemp("everything"),
        SLUICE_APPCONFIG=PLACE.removeprefix("appconfig:"),
        SLUICE_RECEIPTS="decisions",
        AWS_ENDPOINT_URL_APPCONFIGDATA=appconfig.url,
        AWS_SESSION_TOKEN="session",
    ) as (url, key, _, running, log):

        def lines():
            found = log.read_text("utf-8").splitlines()
            return [json.loads(line) for line in found if line.startswith("{")]

        yield url, key, running, log, (lambda: list(ledger.entries(*ALWAYS)), receipts, lines)
    assert wrong(ledger) == []
