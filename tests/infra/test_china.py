"""The stages of China: nothing of the commercial partition is in them, and nothing of theirs in it.

`ningxia` and `beijing` are the example's; tests/infra/stages.py says what else is synthesised.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stages import ROOT
from stages import china as stages_of_china
from template import plain

from infra import bundling
from infra.api import ROUTES
from router.deploy import adapter, currency, parts
from router.deploy.covers import COVERS

STAGES = ("beijing", "ningxia", "steppe", "signed")
REGIONS = ("cn-north-1", "cn-northwest-1")
# `aws_cdk.region_info` 2.275 of all regions: "Service principals are now globally
# <SERVICE>.amazonaws.com"; their names are no hosts.
PRINCIPAL = re.compile(r'"(Service|Principal)": "[a-z0-9-]+\.amazonaws\.com"')
# The role that Application Auto Scaling makes is called after its principal; VPC endpoints are
# called by reversed names, some of them without `cn.` (CDK has AWS's list of both regions).
NAMES = re.compile(
    r"role/aws-service-role/[a-z.-]+\.amazonaws\.com/|(cn\.)?com\.amazonaws\.(cn-[a-z0-9-]+)?"
)
HOSTS = re.compile(r"amazonaws\.com(?!\.cn)|api\.aws\b|aws\.amazon\.com|amazonaws\.com\.cn\.")
COMMERCIAL = (
    "arn:aws:",
    "us-east-1",
    "us-west-2",
    "753240598075",  # the Web Adapter's account
    "763104351884",  # that of AWS's deep learning containers
    "public.ecr.aws",
)
OF_CHINA = ("aws-cn", "cn-north", "amazonaws.com.cn", *(adapter.layer_arn("aws-cn", one) or ""
                                                        for one in REGIONS))  # fmt: skip
X86_64 = 62  # e_machine of an ELF file: EM_X86_64
TEXTS = {".yaml", ".json", ".sh"}


def texts(synthesised):
    return {path.name: path.read_text("utf-8") for path in synthesised.paths()}


def foreign(text):
    """Return what of this text is of the commercial partition."""
    known = NAMES.sub("", PRINCIPAL.sub("", text))
    return [one for one in COMMERCIAL if one in known] + HOSTS.findall(known)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundling.bundle(stages_of_china()["ningxia"], tmp_path_factory.mktemp("ningxia"))


# -- what is whose ---------------------------------------------------------------------------------


def test_the_stages_of_china_synthesise_and_break_no_rule_of_cdk_nag(china):
    assert china.code == 0, china.said[-3000:]
    (nag,) = (one for one in china.report()["pluginReports"] if one["pluginName"] == "AwsSolutions")
    assert nag["conclusion"] == "success"
    assert not nag.get("violations")
    assert {path.name.split("-")[1] for path in china.paths()} == set(STAGES)


def test_cfn_lint_finds_no_error_in_either_region(china):
    machines = {path for path in china.paths() if "-ningxia-Lanes." in path.name}
    linted(REGIONS, set(china.paths()) - machines)
    linted(("cn-northwest-1",), machines)  # Beijing has no p4d


def linted(regions, paths):
    command = [Path(sys.executable).with_name("cfn-lint"), "--regions", *regions]
    command += ["--non-zero-exit-code", "error", "--", *sorted(map(str, paths))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout


def test_no_template_names_a_host_or_an_arn_of_the_commercial_partition(china):
    for name, text in texts(china).items():
        assert foreign(text) == [], name


def test_the_commercial_templates_have_nothing_of_china(synthesised):
    for name, text in texts(synthesised).items():
        assert [one for one in OF_CHINA if one in text] == [], name


@pytest.mark.parametrize(
    "text",
    [
        '"arn:aws:s3:::bucket"',
        '"https://dynamodb.us-east-1.amazonaws.com"',
        '"https://bedrock.cn-north-1.amazonaws.com"',
        '"Image": "763104351884.dkr.ecr.cn-north-1.amazonaws.com.cn/vllm"',
        '"https://sts.cn-north-1.api.aws"',
    ],
)
def test_what_is_commercial_would_be_found(text):
    assert foreign(text)


def test_neither_bundle_nor_configuration_names_the_commercial_partition(bundle):
    found = [bundle / "run.sh", *(bundle / "config").rglob("*")]
    looked_at = [path for path in found if path.suffix in TEXTS]
    assert {"fleets.yaml", "policy.yaml", "run.sh"} <= {path.name for path in looked_at}
    for path in looked_at:
        assert foreign(path.read_text("utf-8")) == [], path


def test_the_function_s_environment_is_of_its_partition(china):
    for name in STAGES:
        for function in china.stage(name).all("Lambda::Function"):
            assert foreign(json.dumps(function.get("Environment", {}))) == []


def test_every_resource_has_its_line_of_the_plan_or_is_free(china):
    for name in STAGES:
        kinds = {one["Type"] for one in china.stage(name).resources.values()}
        assert sorted(kinds - COVERS.keys()) == []


# -- what differs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["beijing", "ningxia", "signed"])
def test_every_route_asks_for_a_signature_health_too(china, name):
    """Without one API Gateway serves nobody whose owner has no ICP licence."""
    methods = china.stack(name, "Router").all("ApiGateway::Method")
    assert [one["AuthorizationType"] for one in methods] == ["AWS_IAM"] * len(ROUTES)
    for method in methods:  # a proxy: x-sluice-key comes through as it was sent
        assert method["Integration"]["Type"] == "AWS_PROXY"
        assert method["Integration"]["ResponseTransferMode"] == "STREAM"


def test_functions_run_on_x86_with_the_adapter_of_their_region(china):
    for name, region in (("beijing", "cn-north-1"), ("ningxia", "cn-northwest-1")):
        functions = china.stage(name).all("Lambda::Function")
        ours = [one for one in functions if "FunctionName" in one]
        assert {tuple(one["Architectures"]) for one in ours} == {("x86_64",)}
        layers = [one["Layers"] for one in ours if "Layers" in one]
        assert layers == [[adapter.layer_arn("aws-cn", region)]]


def test_a_task_runs_on_x86_too(china):
    task = china.stack("steppe", "Router").one("ECS::TaskDefinition")
    assert task["RuntimePlatform"]["CpuArchitecture"] == "X86_64"
    images = json.loads((china.folder / "sluice-steppe-Router.assets.json").read_text("utf-8"))
    (image,) = images["dockerImages"].values()
    assert image["source"]["platform"] == "linux/amd64"
    assert bundling.platform_of(stages_of_china()["steppe"]) == "container-x86"


def test_the_bundle_s_libraries_are_for_x86(bundle):
    libraries = [path for path in bundle.rglob("*.so*") if path.is_file()]
    assert libraries
    for path in libraries:
        head = path.read_bytes()[:20]
        assert (head[:4], int.from_bytes(head[18:20], "little")) == (b"\x7fELF", X86_64), path


def test_the_network_s_doors_have_the_names_that_they_have_in_china(china):
    def doors(name):
        found = china.stack(name, "Router").all("EC2::VPCEndpoint")
        return {plain(one["ServiceName"]) for one in found if one["VpcEndpointType"] == "Interface"}

    plainly = ("appconfigdata", "kinesis-firehose", "logs", "ecs", "ecs-agent", "ecs-telemetry")
    assert doors("ningxia") == {
        *(f"com.amazonaws.cn-northwest-1.{one}" for one in plainly),
        *(f"cn.com.amazonaws.cn-northwest-1.ecr.{one}" for one in ("api", "dkr")),
    }
    own = {f"cn.com.amazonaws.cn-north-1.ecr.{one}" for one in ("api", "dkr")}
    assert own <= doors("steppe")
    for name in ("ningxia", "steppe", "signed"):
        assert len(doors(name)) == len(parts.endpoints(stages_of_china()[name]))


def test_the_budget_is_in_the_currency_of_the_bill(china):
    budget = china.stack("signed", "Observability").one("Budgets::Budget")["Budget"]
    signed = stages_of_china()["signed"]
    assert budget["BudgetLimit"]["Unit"] == "CNY"
    assert budget["BudgetLimit"]["Amount"] == round(5000 / currency.rate(signed).usd)


def test_nothing_is_there_that_china_lacks(china):
    lacking = {
        "AWS::Lambda::Url",
        "AWS::SageMaker::InferenceComponent",
        "AWS::Cognito::UserPool",
        "AWS::ApiGateway::Authorizer",
    }
    for name in STAGES:
        whole = china.stage(name)
        assert not lacking & {one["Type"] for one in whole.resources.values()}
        assert not [one for one in whole.all("Lambda::Function") if "TracingConfig" in one]
        for stage in whole.all("ApiGateway::Stage"):
            assert not stage.get("TracingEnabled")
