"""Keys of fleets in AWS Secrets Manager: a real router, moto's server, a server that listens."""

import asyncio
import json
import logging

import pytest
from ledger_support import dynamo_server
from support import catalogue, fleet, policy, sluice, wait_until

from backends.files import catalogue as catalogue_of
from router import entry
from router.faults import MissingKey
from router.fleet_keys import fleet_keys
from router.settings import Settings, environment
from router.sources import read_secrets

VALUE = "sk-of-the-fleet-1"


@pytest.fixture(scope="module")
def moto():
    with dynamo_server() as address:
        yield address


@pytest.fixture
def aws(moto, monkeypatch):
    """The environment that every AWS tool reads, for this test and the processes it starts."""
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    said = {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": moto,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def secret(aws, moto, request):
    """Put a secret there; return its ARN."""
    client = manager(moto)
    made = []

    def put(name, value=VALUE, **more):
        text = {"SecretString": value} if isinstance(value, str) else {"SecretBinary": value}
        made.append(client.create_secret(Name=name, **text)["ARN"])
        return made[-1]

    yield put
    for arn in made:
        client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


def manager(address):
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("secretsmanager", endpoint_url=address, region_name="us-east-1", **keys)


def with_key(url, reference):
    return catalogue(fleet("one", url, more=f", api_key: '{reference}'"))


def sent_key(upstream):
    head = upstream.raws[-1].partition(b"\r\n\r\n")[0].lower()
    return head.split(b"authorization: bearer ")[1].split(b"\r\n")[0].decode()


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        (VALUE, "${{secret:prod/vllm}}"),
        (VALUE + "\n", "${{secret:{arn}}}"),
        (json.dumps({"user": "u", "api_key": VALUE}), "${{secret:prod/vllm#api_key}}"),
        (json.dumps({"api_key": VALUE}), "${{secret:{arn}#api_key}}"),
    ],
    ids=["by name", "by ARN", "a field of JSON", "a field by ARN"],
)
def test_a_fleets_key_is_read_from_secrets_manager(
    secret, start_router, upstream, value, reference
):
    arn = secret("prod/vllm", value)
    router = start_router(with_key(upstream.url, reference.format(arn=arn)), policy())
    assert router.chat().status_code == 200
    assert sent_key(upstream) == VALUE
    kept = [path.read_text() for path in (router.state / "versions").iterdir()]
    assert VALUE not in "".join(kept) + router.log()


def keys_of(tmp_path, *references):
    fleets = [
        fleet(f"f{n}", "http://127.0.0.1:1/v1", more=f", api_key: '{reference}'")
        for n, reference in enumerate(references)
    ]
    path = tmp_path / "fleets.yaml"
    path.write_text(catalogue(*fleets))
    return fleet_keys(catalogue_of(path, tmp_path, "local").fleets, environment())


@pytest.mark.parametrize(
    ("value", "reference", "said"),
    [
        (None, "${secret:nowhere}", "`nowhere` can't be read: there is no such secret"),
        (b"\x00\x01", "${secret:it}", "`it` is binary (valid: text, or JSON and `#field`)"),
        ('{"api_key": "x"}', "${secret:it}", "say which field holds the key, as in `${secret:it#"),
        ('{"api_key": 7}', "${secret:it#api_key}", "`it` has no text in a field `api_key`"),
        ("[1]", "${secret:it#api_key}", "`it` has no text in a field `api_key`"),
        (VALUE, "${secret:it#api_key}", "is no JSON, so it has no field: leave `#api_key` out"),
        ("two words", "${secret:it}", "has characters that no header may have"),
        ("\n", "${secret:it}", "`it` is empty"),
    ],
)
def test_a_secret_that_holds_no_key_is_told_with_its_place(
    secret, tmp_path, value, reference, said
):
    if value is not None:
        secret("it", value)
    with pytest.raises(MissingKey) as told:
        keys_of(tmp_path, reference)
    assert str(told.value).startswith(f"{tmp_path / 'fleets.yaml'}:4: fleet f0: the secret `")
    assert said in str(told.value)
    if isinstance(value, str) and value.strip():
        assert value not in str(told.value)


@pytest.mark.parametrize(
    ("unset", "set_to", "said"),
    [
        ("AWS_REGION", {}, "no region: set AWS_REGION, or name the secret by its ARN"),
        ("AWS_ACCESS_KEY_ID", {"AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials"),
        (None, {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}, "can't be read: http://127"),
    ],
)  # fmt: skip
def test_aws_that_cannot_be_asked_is_told(aws, tmp_path, unset, set_to, said):
    if unset:
        aws.delenv(unset)
    for name, value in set_to.items():
        aws.delenv(name) if value is None else aws.setenv(name, value)
    with pytest.raises(MissingKey, match=said):
        keys_of(tmp_path, "${secret:it}")


def test_a_denied_secret_names_the_right_that_is_missing(tmp_path, upstream, aws):
    said = {"__type": "AccessDeniedException", "Message": "not authorized"}
    body = json.dumps(said).encode()
    upstream.answers(
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.1\r\n"
        b"content-length: %d\r\n\r\n" % len(body) + body
    )
    aws.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", upstream.url.removesuffix("/v1"))
    with pytest.raises(MissingKey, match="the role needs `secretsmanager:GetSecretValue` on it"):
        keys_of(tmp_path, "${secret:it}")


def test_an_arn_says_its_own_region(secret, aws, tmp_path):
    arn = secret("elsewhere")
    aws.delenv("AWS_REGION")
    assert keys_of(tmp_path, f"${{secret:{arn}}}") == {"f0": VALUE}


def test_fleets_of_one_secret_ask_once(secret, tmp_path, moto):
    secret("shared", json.dumps({"a": "key-a", "b": "key-b"}))
    found = keys_of(tmp_path, "${secret:shared#a}", "${secret:shared#b}", "${secret:shared#a}")
    assert found == {"f0": "key-a", "f1": "key-b", "f2": "key-a"}


def test_serve_and_doctor_tell_a_secret_that_is_missing(aws, tmp_path, upstream):
    (tmp_path / "fleets.yaml").write_text(with_key(upstream.url, "${secret:gone}"))
    (tmp_path / "policy.yaml").write_text(policy())
    files = ["--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml"]
    said = f"{tmp_path / 'fleets.yaml'}:4: fleet one: the secret `gone` can't be read: there is no"
    served = sluice("serve", *files, "--port", "0", "--state", tmp_path)
    assert served.returncode == 3
    assert said in served.stderr
    asked = sluice("doctor", *files, "--state", tmp_path)
    assert asked.returncode == 1
    assert said in asked.stdout


def test_a_change_of_files_reads_the_secret_anew(secret, moto, start_router, upstream, tmp_path):
    arn = secret("prod/vllm")
    router = start_router(with_key(upstream.url, "${secret:prod/vllm}"), policy())
    manager(moto).put_secret_value(SecretId=arn, SecretString="sk-of-the-fleet-2")
    (tmp_path / "policy.yaml").write_text(policy(rules="  - {id: new, use: cpu}\n"))
    wait_until(lambda: "adopted: policy changed" in router.log())
    router.chat()
    assert sent_key(upstream) == "sk-of-the-fleet-2"


def test_a_rotated_secret_is_adopted_and_one_that_cannot_be_read_changes_nothing(
    secret, moto, aws, tmp_path, caplog
):
    arn = secret("prod/vllm")
    (tmp_path / "fleets.yaml").write_text(with_key("http://127.0.0.1:1/v1", "${secret:prod/vllm}"))
    (tmp_path / "policy.yaml").write_text(policy())
    settings = Settings(
        tmp_path / "state",
        tmp_path / "fleets.yaml",
        tmp_path / "policy.yaml",
        environment=environment(),
    )
    runtime = entry.build(settings).runtime

    def key():
        return runtime.generation.endpoints["one"][1].api_key

    async def rotating():
        before = runtime.generation
        await read_secrets(runtime)
        assert runtime.generation is before
        manager(moto).put_secret_value(SecretId=arn, SecretString="sk-2")
        await read_secrets(runtime)
        assert key() == "sk-2"
        assert "the key of one is another now" in caplog.text
        manager(moto).put_secret_value(SecretId=arn, SecretString="not a key")
        await read_secrets(runtime)
        assert key() == "sk-2"
        assert "the keys of fleets stay as they are" in caplog.text
        await runtime.aclose()

    with caplog.at_level(logging.WARNING):
        asyncio.run(rotating())
    assert "sk-2" not in caplog.text
