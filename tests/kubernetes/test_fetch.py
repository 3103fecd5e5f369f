"""The pod's program that fetches weights: run as a pod runs it, against a real S3 server."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
import yaml
from ledger_support import dynamo_server

from router.cli.manifests import programs
from router.deploy.kubernetes.pods import FILES

KEYS = {"AccessKeyId": "testing", "SecretAccessKey": "testing", "Token": "testing"}


class Agent(BaseHTTPRequestHandler):
    """EKS Pod Identity's, on the pod's machine."""

    def do_GET(self):
        known = self.headers["authorization"] == "pod-token"
        body = json.dumps(KEYS).encode()
        self.send_response(200 if known else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def agent():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/credentials"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def address():
    with dynamo_server() as served:
        yield served


@pytest.fixture(scope="module")
def bucket(address):
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    s3 = boto3.client("s3", endpoint_url=address, **keys)
    s3.create_bucket(Bucket="ours")
    for key in ("m/config.json", "m/a b+ü.safetensors", "m/deep/er.json", "m/", "mm/no.json"):
        s3.put_object(Bucket="ours", Key=key, Body=key.encode() * 1000)
    s3.put_object(Bucket="ours", Key="one/model.gguf", Body=b"gguf")
    return s3


@pytest.fixture
def fetch(tmp_path, address, bucket):
    pod = tmp_path / "weights"
    texts = yaml.safe_load(yaml.safe_dump(programs()))  # as a ConfigMap brings them
    for name, path in FILES.items():
        pod.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
        pod.joinpath(path).write_text(texts[name], "utf-8")
    (tmp_path / "token").write_text("pod-token", "utf-8")

    def run(prefix, folder, token="token", name="ours"):
        with agent() as uri:
            environment = {
                "AWS_REGION": "us-east-1",
                "SLUICE_S3": address,
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": uri,
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / token),
            }
            command = [sys.executable, pod / "fetch.py", name, prefix, folder]
            return subprocess.run(
                command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
            )

    return run


def test_a_folder_of_the_bucket_is_copied_with_what_is_below_it(fetch, tmp_path):
    ended = fetch("m/", tmp_path / "to")
    assert ended.returncode == 0, ended.stderr
    found = {
        p.relative_to(tmp_path / "to").as_posix() for p in tmp_path.joinpath("to").rglob("*.*")
    }
    assert found == {"config.json", "a b+ü.safetensors", "deep/er.json"}
    assert (tmp_path / "to" / "config.json").read_bytes() == b"m/config.json" * 1000


def test_one_file_is_copied_alone(fetch, tmp_path):
    assert fetch("one/model.gguf", tmp_path / "to").returncode == 0
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["model.gguf"]


def test_what_is_there_in_its_full_size_stays_and_what_was_cut_off_is_fetched_anew(fetch, tmp_path):
    fetch("m/", tmp_path / "to")
    kept, cut = tmp_path / "to" / "config.json", tmp_path / "to" / "deep" / "er.json"
    kept.write_bytes(b"x" * kept.stat().st_size)
    cut.write_bytes(b"cut")
    assert fetch("m/", tmp_path / "to").returncode == 0
    assert kept.read_bytes().startswith(b"xx")
    assert cut.read_bytes() == b"m/deep/er.json" * 1000


def test_nothing_there_is_an_error_that_says_where(fetch, tmp_path):
    ended = fetch("nowhere/", tmp_path / "to")
    assert ended.returncode != 0
    assert "nothing is at s3://ours/nowhere/" in ended.stderr


def test_a_bucket_that_is_not_there_is_an_error_that_says_so(fetch, tmp_path):
    ended = fetch("m/", tmp_path / "to", name="not-ours")
    assert ended.returncode != 0
    assert "NoSuchBucket" in ended.stderr
