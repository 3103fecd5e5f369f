"""`sluice policy publish` and `rollback` against AppConfig's operations over real HTTP."""

import json
import os

import pytest
from appconfig_server import ALARMED, ARN, BY_ID, PLACE, WELL
from click.testing import CliRunner
from support import catalogue, fleet, policy, sluice

import yamlfile
from policies.schema import appconfig_schema
from router.cli.main import cli

FLEETS = catalogue(fleet("one", "http://127.0.0.1:1/v1"))
QUICK = ("--every", "0.05")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "fleets.yaml").write_text(FLEETS, "utf-8")
    (tmp_path / "test.yaml").write_text(f"# why it is so\n{policy()}", "utf-8")
    return tmp_path


def run(appconfig, files, command, *more, why="slower nights", to=PLACE, **environment):
    options = ["--to", to, "--why", why, "--fleets", files / "fleets.yaml", *QUICK, *more]
    given = [files / "test.yaml"] if command == "publish" else []
    named = {**os.environ, **appconfig.environment(**environment)}
    return sluice("policy", command, *given, *options, env=named)


def notes(appconfig):
    return [json.loads(said) for _, said in appconfig.versions.values()]


def in_force(appconfig, content):
    """Have this policy in force, published by somebody else before."""
    appconfig.publish(json.dumps(content).encode() if isinstance(content, dict) else content)
    one = appconfig.deploy(max(appconfig.versions))
    one["State"], one["course"] = "COMPLETE", []


def as_json(text):
    return json.dumps(yamlfile.parse(text, "it").value).encode()


def test_what_is_published_says_who_and_why_and_goes_out_by_the_stages_own_strategy(
    appconfig, files
):
    appconfig.schema = json.loads(appconfig_schema())
    ended = run(appconfig, files, "publish", why="夜里慢一点\nand cheaper")
    assert ended.returncode == 0, ended.stderr
    ((content, _),) = appconfig.versions.values()
    (note,) = notes(appconfig)
    assert (note["who"], note["why"]) == (ARN, "夜里慢一点\nand cheaper")
    assert json.loads(content)["baseline"] == "m@one"
    assert content.decode().count("\n") > 10  # so that a mistake in it has a line
    (deployment,) = appconfig.deployments
    assert deployment["DeploymentStrategyId"] == "str1234"
    assert f"version 1 (test {note['hash']}) is in force; while it bakes" in ended.stdout
    assert "deployment 1: deploying, 60 %" in ended.stderr


def test_the_hash_of_what_is_published_is_that_of_the_file(appconfig, files):
    checked = sluice(
        "policy", "check", files / "test.yaml", "--fleets", files / "fleets.yaml", "--json"
    )
    run(appconfig, files, "publish")
    assert notes(appconfig)[0]["hash"] == json.loads(checked.stdout)[0]["policy"]["hash"]


def test_ids_stand_for_names_and_json_tells_all_of_it(appconfig, files):
    more = ("--json", "--strategy", "slow")
    ended = run(appconfig, files, "publish", *more, to=BY_ID)
    said = json.loads(ended.stdout)
    assert ended.returncode == 0
    assert (said["version"], said["deployment"], said["state"]) == (1, 1, "BAKING")
    assert (said["who"], said["why"], said["policy"]) == (ARN, "slower nights", "test")
    assert appconfig.deployments[0]["DeploymentStrategyId"] == "str5678"


def test_who_does_not_wait_is_told_that_it_is_on_its_way(appconfig, files):
    ended = run(appconfig, files, "publish", "--no-wait")
    assert ended.returncode == 0
    assert "is on its way" in ended.stdout
    assert appconfig.deployments[0]["State"] == "DEPLOYING"


def test_a_version_that_an_alarm_takes_back_is_a_failure_with_the_reason(appconfig, files):
    appconfig.course = ALARMED
    ended = run(appconfig, files, "publish")
    assert ended.returncode == 1
    assert "version 1 was taken back: alarm sluice-dev-errors rang" in ended.stderr


def test_the_second_of_two_publishers_is_told_who_published_what_meanwhile(appconfig, files):
    said = json.dumps({"who": "bo", "why": "cheaper nights", "policy": "p", "hash": "h"})
    appconfig.publish(b"{}", "written by hand")
    appconfig.before["POST", "hostedconfigurationversions"] = lambda: appconfig.publish(b"{}", said)
    ended = run(appconfig, files, "publish")
    assert ended.returncode == 2
    said = 'came since version 1: version 2, which bo published ("cheaper nights"). Look at it'
    assert said in ended.stderr
    assert len(appconfig.versions) == 2
    assert appconfig.deployments == []


def test_while_a_deployment_is_under_way_nothing_is_made(appconfig, files):
    appconfig.publish(b"{}")
    appconfig.deploy(1)
    ended = run(appconfig, files, "publish")
    assert ended.returncode == 2
    assert "deployment 1 (version 1) is deploying" in ended.stderr
    assert len(appconfig.versions) == 1


def test_one_that_begins_between_is_told_with_the_version_that_waits(appconfig, files):
    appconfig.before["POST", "deployments"] = lambda: appconfig.deploy(1)
    ended = run(appconfig, files, "publish")
    assert ended.returncode == 2
    assert "version 1 is there but not deployed" in ended.stderr
    assert "another deployment is in progress" in ended.stderr


def test_what_the_validators_say_is_shown(appconfig, files):
    appconfig.judge = lambda _: "policy.json:3: rule all: unknown lane `cpu`"
    ended = run(appconfig, files, "publish")
    assert ended.returncode == 2
    assert "policy.json:3: rule all: unknown lane `cpu`" in ended.stderr
    appconfig.schema = {"required": ["owner"]}
    ended = run(appconfig, files, "publish")
    assert ended.returncode == 2
    assert "'owner' is a required property" in ended.stderr


def test_a_wrong_policy_is_refused_before_anybody_is_asked(appconfig, files):
    (files / "test.yaml").write_text(policy(use="gpu"), "utf-8")
    ended = run(appconfig, files, "publish", "--json")
    assert ended.returncode == 3
    assert "test.yaml:6: rule all: unknown lane `gpu`" in ended.stderr
    assert appconfig.asked == []


def test_a_case_that_fails_keeps_it_back(appconfig, files):
    cases = files / "cases"
    cases.mkdir()
    (cases / "test.yaml").write_text(
        "version: 1\ncases:\n  - {name: to two, expect: {fleet: two}}\n", "utf-8"
    )
    ended = run(appconfig, files, "publish", "--cases", cases)
    assert ended.returncode in (1, 3)
    assert "test.yaml:" in ended.stderr
    assert appconfig.asked == []


@pytest.mark.parametrize(
    ("to", "more", "said"),
    [
        ("appconfig:sluice-dev/dev/polcy", (), "unknown configuration profile `polcy` (did you"),
        ("appconfig:sluice/dev/policy", (), "unknown application `sluice`"),
        ("appconfig:sluice-dev/prod/policy", (), "unknown environment `prod`"),
        ("s3://bucket", (), "is no place on AppConfig (valid: "),
        ("appconfig:sluice-dev/dev", (), "is no place on AppConfig"),
        (PLACE, ("--strategy", "fast"), "unknown strategy `fast`"),
        (PLACE, ("--why", " "), "it is empty: say what it is for"),
        (PLACE, ("--why", "w" * 1000), "`--why` is too long"),
    ],
    ids=str,
)
def test_a_mistaken_option_is_told_with_what_would_be_valid(appconfig, files, to, more, said):
    ended = run(appconfig, files, "publish", *more, to=to)
    assert ended.returncode == 3
    assert said in " ".join(ended.stderr.split())
    assert appconfig.versions == {}


def test_who_has_no_identity_region_or_server_is_told_so(appconfig, files, closed_port):
    without = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": str(files)}
    ended = run(appconfig, files, "publish", **without)
    assert (ended.returncode, "no AWS credentials" in ended.stderr) == (1, True)
    without = {"AWS_REGION": "", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    ended = run(appconfig, files, "publish", **without)
    assert (ended.returncode, "no region: set AWS_REGION" in ended.stderr) == (1, True)
    nowhere = f"http://127.0.0.1:{closed_port}"
    ended = run(appconfig, files, "publish", AWS_ENDPOINT_URL=nowhere)
    assert (ended.returncode, "AppConfig can't be asked to list" in ended.stderr) == (1, True)


# -- back ------------------------------------------------------------------------------------------


def test_going_back_stops_the_deployment_that_is_under_way(appconfig, files):
    in_force(appconfig, as_json(policy()))
    appconfig.publish(b"{}")
    appconfig.deploy(2)
    ended = run(appconfig, files, "rollback")
    assert ended.returncode == 0, ended.stderr
    assert appconfig.deployments[-1]["State"] == "ROLLED_BACK"
    assert "deployment 2 is taken back: what was there before is in force" in ended.stdout
    assert len(appconfig.versions) == 2


def test_one_that_bakes_is_stopped_too(appconfig, files):
    appconfig.publish(b"{}")
    appconfig.deploy(1)["State"] = "BAKING"
    assert run(appconfig, files, "rollback").returncode == 0
    assert appconfig.deployments[-1]["State"] == "ROLLED_BACK"


def test_going_back_publishes_the_version_before_anew_and_at_once(appconfig, files):
    old, new = as_json(policy(defaults=", strict: true")), as_json(policy())
    in_force(appconfig, old)
    in_force(appconfig, new)
    ended = run(appconfig, files, "rollback", why="it was too dear")
    assert ended.returncode == 0, ended.stderr
    content, said = appconfig.versions[3]
    assert json.loads(content) == json.loads(old)
    note = json.loads(said)
    assert (note["back_to"], note["why"], note["who"]) == (1, "it was too dear", ARN)
    assert appconfig.deployments[-1]["DeploymentStrategyId"] == "AppConfig.AllAtOnce"


def test_going_back_twice_goes_further_back_and_then_there_is_nothing(appconfig, files):
    for strict in ("", ", strict: true", ", thinking: on"):
        in_force(appconfig, as_json(policy(defaults=strict)))
    appconfig.course = (("COMPLETE", 100.0),)
    assert run(appconfig, files, "rollback", "--json").returncode == 0
    assert run(appconfig, files, "rollback").returncode == 0
    back = [json.loads(said)["back_to"] for _, said in list(appconfig.versions.values())[3:]]
    assert back == [2, 1]
    ended = run(appconfig, files, "rollback")
    assert ended.returncode == 2
    assert "no version before 1 was in force here: say which by `--version`" in ended.stderr


def test_a_version_may_be_named_and_a_deployment_under_way_is_stopped_first(appconfig, files):
    in_force(appconfig, as_json(policy()))
    in_force(appconfig, as_json(policy()))
    appconfig.publish(b"{}")
    appconfig.deploy(3)
    ended = run(appconfig, files, "rollback", "--version", "1")
    assert ended.returncode == 0, ended.stderr
    assert [one["State"] for one in appconfig.deployments[2:]] == ["ROLLED_BACK", "BAKING"]
    assert json.loads(appconfig.versions[4][1])["back_to"] == 1


def test_a_version_that_nobody_made_is_told_with_those_that_are(appconfig, files):
    in_force(appconfig, as_json(policy()))
    ended = run(appconfig, files, "rollback", "--version", "7")
    assert ended.returncode == 3
    assert "unknown version 7 (known: 1)" in ended.stderr


def test_an_old_policy_that_no_longer_fits_the_fleets_is_not_published(appconfig, files):
    in_force(appconfig, as_json(policy(use="heavy")))
    ended = run(appconfig, files, "rollback", "--version", "1")
    assert ended.returncode == 3
    assert f"{PLACE} version 1:1: rule all: unknown lane `heavy`" in ended.stderr
    assert len(appconfig.versions) == 1


def test_where_nothing_was_deployed_there_is_nothing_to_go_back_to(appconfig, files):
    ended = run(appconfig, files, "rollback")
    assert (ended.returncode, "nothing was deployed here" in ended.stderr) == (2, True)


def test_another_profiles_deployment_is_left_alone(appconfig, files):
    appconfig.publish(b"{}")
    appconfig.deploy(1, ConfigurationProfileId="other12")
    ended = run(appconfig, files, "rollback")
    assert (ended.returncode, "is another profile's" in ended.stderr) == (2, True)
    assert appconfig.deployments[0]["State"] == "DEPLOYING"
    assert WELL[0] in appconfig.deployments[0]["course"]


# -- what was published ----------------------------------------------------------------------------


@pytest.fixture
def asks(appconfig, monkeypatch):
    """Run a command in this process, as whom AWS knows."""
    for name, value in appconfig.environment().items():
        monkeypatch.setenv(name, value)

    def ask(command, *more, to=PLACE):
        return CliRunner().invoke(cli, ["policy", command, "--to", to, *map(str, more)])

    return ask


def by(who, why):
    return json.dumps({"who": who, "why": why, "policy": "test", "hash": "h"})


def test_history_says_of_each_version_when_it_went_out_and_what_became_of_it(appconfig, asks):
    in_force(appconfig, {"rules": 1})
    appconfig.publish(b"{}", by("bo", "夜里慢一点"))
    appconfig.deploy(2)["State"] = "ROLLED_BACK"
    appconfig.publish(b"{}", by("ana", "dearer days"))
    appconfig.publish(b"{}", by("ana", "forgotten"))
    appconfig.deploy(3)["PercentageComplete"] = 20.0
    rows = json.loads(asks("history", "--json").stdout)
    assert [(row["version"], row["state"]) for row in rows] == [
        (4, "not deployed"), (3, "on its way, 20 %"), (2, "taken back"), (1, "in force"),
    ]  # fmt: skip
    assert (rows[2]["who"], rows[2]["why"], rows[2]["deployment"]) == ("bo", "夜里慢一点", 2)
    assert rows[2]["at"] == "2026-01-05T12:01:00.000Z"
    assert (rows[3]["who"], rows[3]["at"]) == (None, "2026-01-05T12:00:00.000Z")
    assert "夜里慢一点" in asks("history").stdout


def test_show_prints_what_was_published_there(appconfig, asks):
    in_force(appconfig, {"rules": 1})
    appconfig.publish(b'{"rules": 2}', by("bo", "cheaper"))
    assert json.loads(asks("show").stdout) == {"rules": 1}
    assert json.loads(asks("show", "2").stdout) == {"rules": 2}
    said = json.loads(asks("show", "2", "--json").stdout)
    assert (said["version"], said["who"], said["text"]) == (2, "bo", '{"rules": 2}')
    unknown = asks("show", "9")
    assert unknown.exit_code == 3
    assert "unknown version 9 (known: 2, 1)" in unknown.output


def test_where_nothing_is_in_force_show_asks_which(appconfig, asks):
    appconfig.publish(b"{}")
    ended = asks("show")
    assert ended.exit_code == 2
    assert "nothing is in force here: say which version" in ended.output


def test_a_version_that_one_started_from_is_held_to_there_too(appconfig, asks, files):
    appconfig.publish(b"{}", by("bo", "cheaper"))
    appconfig.publish(b"{}", by("bo", "dearer"))
    options = ["--why", "w", "--fleets", files / "fleets.yaml", "--from", "1"]
    ended = asks("publish", *options, files / "test.yaml")
    assert ended.exit_code == 2
    assert 'came since version 1: version 2, which bo published ("dearer"). Look' in ended.output
    assert "(`sluice policy show 2 --to appconfig:" in ended.output
    assert "then publish with `--from 2`" in ended.output


def test_what_somebody_else_published_there_is_replaced_only_by_who_saw_it(appconfig, asks, files):
    appconfig.publish(b"{}", by("bo", "cheaper"))
    options = ["--why", "w", "--fleets", files / "fleets.yaml", files / "test.yaml", *QUICK]
    ended = asks("publish", *options)
    assert ended.exit_code == 2
    assert 'this would replace version 1, which bo published ("cheaper"); you are' in ended.output
    assert "(`sluice policy show 1 --to appconfig:" in ended.output
    assert len(appconfig.versions) == 1
    assert asks("publish", *options, "--from", "1").exit_code == 0
    appconfig.deployments[-1].update(State="COMPLETE", course=[])
    assert asks("publish", *options).exit_code == 0  # one's own


def test_a_canary_is_refused_there_with_what_does_it_in_its_place(appconfig, asks, files):
    text = policy() + "canary: {policy: next, share: 0.1}\n"
    (files / "test.yaml").write_text(text, "utf-8")
    options = ["--why", "w", "--fleets", files / "fleets.yaml"]
    ended = asks("publish", *options, files / "test.yaml")
    assert ended.exit_code == 3
    assert "test.yaml:7: canary: on AppConfig a policy goes out by steps" in ended.output
    assert appconfig.versions == {}
