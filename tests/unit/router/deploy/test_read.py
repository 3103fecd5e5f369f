"""deploy.yaml and the files that it names: what is read, and every refusal with file:line."""

import json
import shutil
from pathlib import Path

import pytest

import yamlfile
from router.deploy.read import stages
from yamlfile import Invalid

EXAMPLES = Path("infra/examples")
ISSUED = "arn:aws:acm:us-east-1:444455556666:certificate/01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def folder(tmp_path):
    """A copy of the examples, to be broken."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "examples"))


@pytest.fixture
def changed(folder):
    """Write a stage of deploy.yaml with some keys set (None: removed); return its path."""

    def change(stage="prod", **keys):
        path = folder / "deploy.yaml"
        value = yamlfile.parse(path.read_text("utf-8"), "").value
        row = {**value["stages"][stage], **keys}
        value["stages"] = {stage: {key: kept for key, kept in row.items() if kept is not None}}
        path.write_text(json.dumps(value, indent=1), "utf-8")
        return path

    return change


@pytest.fixture
def fleets(folder):
    """Set keys of one fleet of fleets.yaml (None: removed)."""

    def change(fleet_id, **keys):
        path = folder / "fleets.yaml"
        value = yamlfile.parse(path.read_text("utf-8"), "").value
        [row] = [row for row in value["fleets"] if row["id"] == fleet_id]
        row.update(keys)
        for key in [key for key, kept in row.items() if kept is None]:
            del row[key]
        path.write_text(json.dumps(value, indent=1), "utf-8")

    return change


def refused(path, only=None):
    """Return what is told, each with its `file:line`."""
    with pytest.raises(Invalid) as told:
        stages(path, only)
    for problem in told.value.problems:
        name, _, line = problem.where.rpartition(":")
        assert Path(name).exists(), problem
        assert int(line) > 0
    return str(told.value)


def warned(path, only):
    return [str(problem) for problem in stages(path, only)[only].warnings]


# ---- what is read --------------------------------------------------------------------------------


def test_the_examples_are_read_without_a_warning():
    found = stages(EXAMPLES / "deploy.yaml")
    assert list(found) == ["dev", "prod"]
    dev, prod = found["dev"], found["prod"]
    assert (dev.prefix, dev.size, dev.partition) == ("sluice-dev", "small", "aws")
    assert [fleet.id for fleet in dev.catalogue.fleets] == ["qwen3-graviton", "scout-p5"]
    assert prod.compute.provisioned == 2
    assert prod.domain is not None
    assert prod.domain.certificate == ISSUED
    assert not dev.warnings
    assert [w.message for w in prod.warnings if "in the VPC" not in w.message] == []


def test_one_stage_can_be_read_alone():
    assert list(stages(EXAMPLES / "deploy.yaml", "prod")) == ["prod"]


def test_a_stage_knows_its_own_fleets_alone():
    dev, prod = stages(EXAMPLES / "deploy.yaml").values()
    assert dev.catalogue.hash != prod.catalogue.hash
    assert [row["id"] for row in dev.catalogue.compiled["fleets"]] == ["qwen3-graviton", "scout-p5"]
    assert "inf2.48xlarge/llama-4-scout" not in str(dev.catalogue.compiled)


def test_an_unknown_stage_is_told_with_the_known_ones():
    said = refused(EXAMPLES / "deploy.yaml", "prd")
    assert "unknown stage `prd` (did you mean `prod`? known: dev, prod)" in said


def test_a_task_of_fargate_has_a_size_that_fargate_has(changed):
    compute = stages(changed(router={"on": "fargate"}))["prod"].compute
    assert (compute.on, compute.cpu_units, compute.memory_mb) == ("fargate", 1024, 2048)


def test_profiles_beside_the_fleets_are_known(folder, changed, fleets):
    fleets("scout-inf2", profile="ours/scout")
    (folder / "profiles").mkdir()
    row = {"id": "ours/scout", "model": "llama-4-scout", "instance": "inf2.48xlarge"}
    row |= {"source": "measured", "mark": "measured", "points": [{"concurrency": 1, "tok_s": 9}]}
    (folder / "profiles" / "own.yaml").write_text(json.dumps({"version": 1, "profiles": [row]}))
    fleet = stages(changed())["prod"].catalogue.fleet("scout-inf2")
    assert fleet is not None
    assert fleet.profile is not None


# ---- a stage by itself ---------------------------------------------------------------------------

WRONG = [
    ({"account": "1234"}, "account: `1234` is not 12 digits"),
    ({"account": 111122223333}, 'account: write it in quotes, `"111122223333"`'),
    ({"account": 11122223333}, 'account: write it in quotes, `"011122223333"`'),
    ({"account": "１１１１２２２２３３３３"}, "is not 12 digits"),
    ({"region": "us-esat-1"}, "`us-esat-1` is not a region that is known (did you mean"),
    ({"region": "Frankfurt"}, "region: `Frankfurt` is no AWS region"),
    ({"partition": "aws-mars"}, "unknown value `aws-mars` (known: aws, aws-cn, aws-us-gov)"),
    ({"partition": "aws-cn"}, "region `us-east-1` is of partition `aws`, not `aws-cn`"),
    ({"region": "cn-north-1"}, "is of partition `aws-cn`, not `aws` (write `partition: aws-cn`"),
    (
        {"region": "us-gov-west-1", "partition": "aws-us-gov"},
        "partition: `aws-us-gov` is not supported by this version (supported: aws, aws-cn)",
    ),
    ({"size": "medium"}, "unknown value `medium` (known: prod, small)"),
    ({"colour": "red"}, "unknown key `colour`"),
    (
        {"domain": {"name": "llm.example.com", "certificate": "mine.pem"}},
        "certificate: this is no ARN of an ACM certificate (as arn:aws:acm:us-east-1:444455556666:",
    ),
    (
        {
            "domain": {
                "name": "llm.example.com",
                "certificate": ISSUED.replace("us-east-1", "eu-west-1"),
            }
        },
        "certificate: it is of region eu-west-1, the stage of us-east-1: issue one there",
    ),
    (
        {"domain": {"name": "llm.example.com", "certificate": ISSUED.replace("4444", "1111")}},
        "certificate: it is of account 111155556666, the stage of 444455556666",
    ),
    ({"domain": {"name": "llm.example.com"}}, "stages.prod.domain: `certificate` is missing"),
    (
        {"domain": {"name": "HTTP://x", "certificate": ISSUED}},
        "is not a domain name in lower case",
    ),
    ({"domain": {"name": "a.example.com", "certificate": ISSUED, "zone": "x"}}, "hosted zone"),
    ({"domain": None, "router": {"on": "fargate"}}, "`on: fargate` needs `domain`"),
    ({"private": True}, "domain: a private API of API Gateway is reached by its endpoint's name"),
    ({"alarms": {"email": "me"}}, "`me` is not an e-mail address"),
    ({"usd_per_month": 0}, "`0` is below 1"),
    ({"router": {"memory_mb": 64}}, "memory_mb: Lambda has 128 to 10,240 MB"),
    ({"router": {"memory_mb": 10_241}}, "memory_mb: Lambda has 128 to 10,240 MB"),
    ({"router": {"provisioned": 901}}, "900 may be provisioned"),
    ({"router": {"tasks": [1, 2]}}, "tasks: goes with `on: fargate`"),
    ({"router": {"cpu_units": 512}}, "cpu_units: goes with `on: fargate`"),
    ({"router": {"on": "fargate", "provisioned": 1}}, "provisioned: goes with `on: lambda`"),
    ({"router": {"on": "fargate", "tasks": [3, 2]}}, "tasks: the least (3) is above the most (2)"),
    ({"router": {"on": "fargate", "tasks": [3]}}, "tasks"),
    ({"router": {"on": "fargate", "cpu_units": 100}}, "no task of 100 CPU units (known: 256, 512"),
    (
        {"router": {"on": "fargate", "memory_mb": 1769}},
        "8192 MB in steps of 1024, not 1769",
    ),
    ({"auth": {"modes": ["jwt"]}}, "auth: `jwt` needs `config`"),
    ({"auth": {"modes": ["iam"]}}, "auth: `iam` needs `config`"),
    ({"auth": {"config": "auth.yaml"}}, "nobody reads it where the only mode is `keys`"),
    ({"auth": {"modes": ["keys", "iam"], "config": "a"}}, "auth: `iam` stands alone"),
    (
        {"auth": {"modes": ["iam"], "config": "a"}, "router": {"on": "fargate"}},
        "auth: `iam` goes with `on: lambda`",
    ),
    ({"region": "mx-central-1"}, "region: no layer of the Lambda Web Adapter is known in `mx-cen"),
    ({"fleets": {"file": "flets.yaml", "use": ["a"]}}, "fleets.file: "),
    ({"policy": "polcy.yaml"}, "policy: "),
    ({"cases": "elsewhere"}, "cases: "),
]


@pytest.mark.parametrize(("keys", "said"), WRONG)
def test_what_is_wrong_with_a_stage_is_told_with_its_fix(changed, keys, said):
    assert said in refused(changed(**keys))


SMALL = [
    ({"private": True}, "private: a private API is reached through a VPC endpoint"),
    ({"router": {"provisioned": 1}}, "they go with `size: prod`"),
    (
        {
            "router": {"on": "fargate"},
            "domain": {"name": "a.example.com", "certificate": ISSUED},
        },
        "on: fargate runs in a VPC behind a load balancer: it goes with `size: prod`",
    ),
]


@pytest.mark.parametrize(("keys", "said"), SMALL)
def test_what_needs_a_network_is_not_for_a_small_stage(changed, keys, said):
    assert said in refused(changed("dev", **keys))


def test_a_stage_whose_name_aws_would_not_take_is_refused(folder, changed):
    path = changed("dev")
    path.write_text(path.read_text("utf-8").replace('"dev"', '"Dev_1"'), "utf-8")
    assert "a stage's name is 1 to 16 lower-case letters" in refused(path)


def test_everything_wrong_is_told_at_once(changed):
    said = refused(changed(account="1", region="nowhere", router={"memory_mb": 1}))
    assert all(part in said for part in ("account: `1`", "region: `nowhere`", "memory_mb: "))


def test_a_place_that_is_none_is_told_without_what_would_follow_from_it(changed):
    said = refused(changed(region="us-east2", partition="aws"))
    assert "region: `us-east2` is no AWS region (did you mean `us-east-2`?" in said
    assert "fleet " not in said


def test_the_line_is_the_value_s_own(changed):
    path = changed(account="1")
    lines = path.read_text("utf-8").splitlines()
    at = next(i for i, line in enumerate(lines, 1) if '"account":' in line)
    assert f"deploy.yaml:{at}: stage prod: account" in refused(path)


# ---- fleets --------------------------------------------------------------------------------------


def test_a_fleet_that_fleets_yaml_lacks_is_told(changed):
    said = refused(changed(fleets={"file": "fleets.yaml", "use": ["qwen-graviton"]}))
    assert "fleets.yaml has no fleet `qwen-graviton` (did you mean `qwen3-graviton`?" in said


def test_what_is_wrong_in_fleets_yaml_keeps_its_own_line(changed, fleets):
    fleets("scout-p5", lane=None)
    assert "fleets.yaml:" in refused(changed())


FLEETS = [
    ("scout-inf2", {"region": "eu-south-1"}, "EC2 has no `inf2.48xlarge` in eu-south-1 (it has in"),
    ("scout-p5", {"region": "eu-west-1"}, "SageMaker has no `ml.p5.48xlarge` in eu-west-1"),
    ("scout-inf2", {"instance": "c8g.xlarge"}, "`llama-4-scout` doesn't fit `c8g.xlarge`"),
    ("scout-inf2", {"url": "http://localhost:8000/v1"}, "is the router's own machine"),
    ("scout-inf2", {"url": "http://127.0.0.1:8000/v1"}, "is the router's own machine"),
    ("scout-inf2", {"url": "https://8.8.8.8/v1"}, "has no way out (no NAT)"),
    ("scout-p5", {"region": "us-west-2"}, "it is in us-west-2, and the VPC of `size: prod`"),
    ("scout-p5", {"region": "us-gov-west-1"}, "another partition"),
    ("scout-inf2", {"api_key": "${env:KEY}"}, "use `${secret:NAME}`"),
    (
        "scout-inf2",
        {"api_key": "${secret:arn:aws:secretsmanager:eu-west-1:444455556666:secret:x-AbCdEf}"},
        "the secret is in aws:eu-west-1:444455556666, the stage is not",
    ),
    (
        "scout-inf2",
        {"api_key": "${secret:arn:aws:secretsmanager:us-east-1:1:secret:x}"},
        "the secret is in aws:us-east-1:1, the stage is not",
    ),
    ("scout-inf2", {"api_key": "${secret:arn:aws:ssm:x}"}, "this is no ARN of a secret"),
]


@pytest.mark.parametrize(("fleet", "keys", "said"), FLEETS)
def test_a_fleet_that_can_t_be_there_is_refused_at_its_own_line(changed, fleets, fleet, keys, said):
    fleets(fleet, **keys)
    told = refused(changed())
    assert said in told
    assert f"fleet {fleet}: " in told
    assert "fleets.yaml:" in told


def test_an_emulated_fleet_doesn_t_go_to_aws(changed, fleets):
    fleets("scout-inf2", kind="emulated", engine="emulated", api_key=None)
    assert "an emulated fleet answers nothing of a model's" in refused(changed())


def test_a_small_stage_reaches_public_addresses_over_tls_alone(changed, fleets):
    def said(url):
        fleets("scout-inf2", url=url)
        use = {"file": "fleets.yaml", "use": ["scout-inf2", "qwen3-graviton", "scout-p5"]}
        return refused(changed("dev", fleets=use))

    assert "`size: small` has no VPC" in said("http://10.0.1.9:8000/v1")
    assert "`size: small` has no VPC" in said("http://scout.models.internal/v1")
    assert "`size: small` has no VPC" in said("http://internal-a-1.us-east-1.elb.amazonaws.com/v1")
    assert "in clear: use https" in said("http://scout.example.com/v1")


def test_what_can_t_be_known_of_a_fleet_is_a_warning(changed, fleets):
    fleets("qwen3-graviton", instance="ml.m8g.xlarge")
    fleets("scout-inf2", url="http://vllm.example.com/v1")
    said = warned(changed(), "prod")
    assert any("whether SageMaker offers `ml.m8g.xlarge` in us-east-1 is" in line for line in said)
    assert any("must resolve to an address in the VPC" in line for line in said)
    fleets("scout-inf2", instance="x9.huge", region="local")
    said = warned(changed(), "prod")
    assert any("region `local` is not known" in line for line in said)
    assert any("whether `llama-4-scout` fits `x9.huge` is not known" in line for line in said)


def test_alarms_that_nobody_hears_are_a_warning(changed):
    assert any("no `alarms`" in line for line in warned(changed(alarms=None), "prod"))


# ---- policy, cases, auth -------------------------------------------------------------------------


def test_a_policy_must_be_servable_by_the_stage_s_own_fleets(changed):
    said = refused(changed(fleets={"file": "fleets.yaml", "use": ["scout-p5"]}))
    assert "policy.yaml:" in said
    assert "unknown lane `cpu` (known: accelerator) (stage prod uses the fleets scout-p5)" in said


def test_a_failing_case_refuses_the_stage(folder, changed):
    path = folder / "cases" / "policy.yaml"
    path.write_text(path.read_text("utf-8").replace("lane: cpu", "lane: accelerator"), "utf-8")
    said = refused(changed())
    assert "cases/policy.yaml:" in said
    assert "a ticket is read by the small model: " in said


AUTH = """\
version: 1
iam:
  principals: [{arn: "arn:aws:iam::444455556666:role/search-*", tenant: acme, lanes: [LANE]}]
"""


def test_an_auth_file_is_checked_against_the_stage_s_fleets(folder, changed):
    (folder / "auth.yaml").write_text(AUTH.replace("LANE", "gpu"), "utf-8")
    said = refused(changed(auth={"modes": ["iam"], "config": "auth.yaml"}))
    assert "unknown lane `gpu`" in said


def test_modes_and_the_auth_file_must_agree(folder, changed):
    (folder / "auth.yaml").write_text(AUTH.replace("LANE", "cpu"), "utf-8")
    said = refused(changed(auth={"modes": ["keys", "jwt"], "config": "auth.yaml"}))
    assert "auth.yaml has no section `jwt`, which modes ask for" in said
    assert "auth.yaml has a section `iam`, which modes leave out" in said
    assert stages(changed(auth={"modes": ["iam"], "config": "auth.yaml"}))["prod"].auth == ("iam",)


def test_the_issuer_of_tokens_must_be_in_reach_of_the_router(folder, changed):
    def written(issuer):
        jwt = {"issuer": issuer, "audience": "sluice", "give": {"tenant": "acme"}}
        (folder / "auth.yaml").write_text(json.dumps({"version": 1, "jwt": jwt}), "utf-8")
        return changed(auth={"modes": ["keys", "jwt"], "config": "auth.yaml"})

    assert "the issuer's keys: `https://8.8.8.8` is a public address" in refused(
        written("https://8.8.8.8")
    )
    said = warned(written("https://login.example.com"), "prod")
    assert any("the issuer's keys: `https://login.example.com` must resolve" in one for one in said)


def test_a_missing_auth_file_is_told_where_it_is_named(changed):
    said = refused(changed(auth={"modes": ["iam"], "config": "nowhere.yaml"}))
    assert "deploy.yaml:" in said
    assert "auth.config: " in said
