"""`serve --batches`: what goes with it, and what would do nothing."""

import pytest
from support import sluice


def refused(tmp_path, *arguments):
    said = sluice("serve", "--port", "0", "--state", tmp_path, *arguments)
    return said.returncode, " ".join(said.stderr.split())


@pytest.mark.parametrize("setting", ["s3:", "s3:Bucket", "s3:a.b.c", "disk:here", "s3:ab"])
def test_what_is_no_bucket_is_refused_with_what_is_valid(tmp_path, setting):
    code, said = refused(tmp_path, "--batches", setting)
    assert code == 3
    assert f"`{setting}` is no store of batches (valid: `s3:BUCKET`" in said


def test_it_goes_with_a_ledger_in_dynamodb(tmp_path):
    code, said = refused(tmp_path, "--batches", "s3:files")
    assert code == 2
    assert "--ledger dynamodb:TABLE" in said


@pytest.mark.parametrize("option", [("--batch-window", "22:00-06:00@UTC"), ("--batch-at-once", 3)])
def test_who_sends_nothing_needs_no_window(tmp_path, option):
    given = ("--ledger", "dynamodb:nowhere", "--batches", "s3:files", *map(str, option))
    code, said = refused(tmp_path, *given)
    assert code == 3
    assert "with `--batches` the stage's workers send" in said
