"""Whose limits budgets have while a policy goes out, and once it has or was taken back."""

import json

import boto3
import pytest
from appconfig_server import APP, ENV, PROFILE
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from ledger_support import limit
from support import catalogue, fleet, policy

import yamlfile
from router.ledger.sqlite import SqliteLedger
from router.workers.limits import CantBeTold, Deployed, InForce


def told(usd):
    budgets = (
        f"budgets: [{{id: team, match: {{team: a}}, usd: {usd}, per: day, when_spent: reject}}]\n"
    )
    document = yamlfile.parse(policy() + budgets, "it").value
    return json.dumps(document).encode()


@pytest.fixture
def ledger(tmp_path):
    ledger = SqliteLedger(tmp_path / "state")
    yield ledger
    ledger.close()


@pytest.fixture
def in_force(appconfig, ledger, tmp_path, monkeypatch):
    for name, value in appconfig.environment(AWS_DEFAULT_REGION="eu-west-1").items():
        monkeypatch.setenv(name, value)
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", "http://127.0.0.1:1/v1")), "utf-8")
    session, once = boto3.Session(), Config(retries={"total_max_attempts": 1})
    planes = [session.client(name, config=once) for name in ("appconfig", "appconfigdata")]
    deployed = Deployed(*planes, (BotoCoreError, ClientError), (APP, ENV, PROFILE))
    return InForce(deployed, ledger, tmp_path, lambda: 1e9)


def deployed(appconfig, content, state):
    appconfig.publish(content)
    one = appconfig.deploy(max(appconfig.versions))
    one["State"], one["course"] = state, []
    return one


def soft(ledger):
    return {name: one.soft_nano / 1e9 for name, one in ledger.adopted().limits.items()}


def test_the_limits_of_a_policy_hold_once_it_is_deployed_to_its_end(appconfig, ledger, in_force):
    assert in_force.look() is None  # nothing was ever deployed
    appconfig.content = told(1)
    deployed(appconfig, told(1), "COMPLETE")
    assert in_force.look() == ledger.adopted().policy_hash
    assert soft(ledger) == {"team": 1}
    assert in_force.look() is None  # and once is enough


@pytest.mark.parametrize("state", ["VALIDATING", "DEPLOYING", "BAKING", "ROLLING_BACK"])
def test_budgets_hold_as_they_were_while_another_policy_goes_out(
    appconfig, ledger, in_force, state
):
    ledger.adopt({"team": limit(10**9)}, "the one before", 1e9)
    appconfig.content = told(5)
    deployed(appconfig, told(5), state)
    assert in_force.look() is None
    assert soft(ledger) == {"team": 1}


def test_a_policy_that_was_taken_back_leaves_no_limits(appconfig, ledger, in_force):
    deployed(appconfig, told(1), "COMPLETE")
    one = deployed(appconfig, told(5), "BAKING")
    ledger.adopt({"team": limit(5 * 10**9)}, "whoever was too early", 1e9)
    assert in_force.look() is None
    one["State"] = "ROLLED_BACK"
    appconfig.content = told(1)  # what AppConfig serves again
    assert in_force.look() == ledger.adopted().policy_hash
    assert soft(ledger) == {"team": 1}


def test_of_many_deployments_the_last_one_counts(appconfig, ledger, in_force):
    for usd in range(1, 8):  # several pages
        deployed(appconfig, told(usd), "COMPLETE")
    appconfig.content = told(7)
    assert in_force.look() is not None
    assert soft(ledger) == {"team": 7}


def test_what_can_not_be_read_is_told_and_changes_nothing(appconfig, ledger, in_force):
    ledger.adopt({"team": limit(10**9)}, "the one before", 1e9)
    deployed(appconfig, b"{}", "COMPLETE")
    for content, said in ((b"{}", "version"), (b"\xff", "utf-8")):
        appconfig.content = content
        with pytest.raises(CantBeTold, match=said):
            in_force.look()
    appconfig.faults.extend([500])
    with pytest.raises(CantBeTold, match="AppConfig does not tell what is in force"):
        in_force.look()
    assert soft(ledger) == {"team": 1}
    appconfig.content = told(2)
    assert in_force.look() is not None  # the next minute
    assert soft(ledger) == {"team": 2}
