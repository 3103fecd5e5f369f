"""Credentials are found as any AWS tool finds them, by botocore itself."""

import sys

import pytest
from sagemaker_support import ENVIRONMENT

from backends.aws_credentials import Chain
from backends.base import Misconfigured, MissingPackage
from backends.sigv4 import Credentials

NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def nothing(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name)


def test_those_of_the_environment_are_found(monkeypatch):
    found = Chain().read()
    assert found == Credentials(*(ENVIRONMENT[name] for name in NAMES))
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    assert Chain().read().session_token is None


def test_what_changes_is_found_once_the_old_is_forgotten(nothing, monkeypatch, tmp_path):
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    text = "[default]\naws_access_key_id = A\naws_secret_access_key = {}\n"
    file.write_text(text.format("one"))
    chain = Chain()
    assert chain.read().secret_key == "one"
    file.write_text(text.format("two"))
    assert chain.read().secret_key == "one"
    chain.forget()
    assert chain.read().secret_key == "two"


def test_a_process_that_gives_them_is_asked_again_before_they_end(nothing, monkeypatch, tmp_path):
    """They end within 10 minutes, so botocore renews them whenever they are read."""
    program = tmp_path / "give"
    program.write_text(
        f"#!{sys.executable}\n"
        "import datetime as dt, json, pathlib\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "n = len(count.read_text()) if count.exists() else 0\n"
        "count.write_text('x' * (n + 1))\n"
        "ends = dt.datetime.now(dt.timezone.utc) + dt.timedelta(minutes=9 if n == 0 else 60)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'A{n}', 'SecretAccessKey': 's',\n"
        "                  'SessionToken': 't', 'Expiration': ends.isoformat()}))\n"
    )
    program.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    chain = Chain()
    chain.read()
    kept = chain.read().access_key
    assert kept == "A1"
    assert chain.read().access_key == kept


def test_none_at_all_is_told(nothing):
    with pytest.raises(Misconfigured, match="no AWS credentials are found"):
        Chain().read()


def test_a_profile_that_isnt_there_is_told_by_its_kind_alone(nothing, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "secret-name")
    with pytest.raises(Misconfigured) as caught:
        Chain().read()
    assert "can't be had (ProfileNotFound)" in str(caught.value)
    assert "secret-name" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_what_no_header_may_have_is_refused_and_not_repeated(monkeypatch, name):
    monkeypatch.setenv(name, "a\r\nx-evil: 1")
    with pytest.raises(Misconfigured, match="no header may have") as caught:
        Chain().read()
    assert "evil" not in str(caught.value)


def test_without_botocore_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(MissingPackage, match=r"sluice\[aws\]"):
        Chain()
