"""Stages of China: what is refused there and why, and what their plan says in CNY and USD."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import yamlfile
from backends import aws_cn_prices, aws_prices, files
from router.deploy import currency
from router.deploy.plan import plan
from router.deploy.read import stages
from router.deploy.stage import Compute
from yamlfile import Invalid

EXAMPLE = Path("infra/examples/china")
FOUND = stages(EXAMPLE / "deploy.yaml")
NINGXIA, BEIJING = FOUND["ningxia"], FOUND["beijing"]
SOURCE = files.packaged("backends", "data", "aws.yaml")
PRICES = aws_prices.read(SOURCE.text, SOURCE.name)
SOURCE_CN = files.packaged("backends", "data", "aws-cn.yaml")
CHINA = aws_cn_prices.read(SOURCE_CN.text, SOURCE_CN.name, PRICES)


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(EXAMPLE, tmp_path / "china"))


def rewritten(path, change):
    value = yamlfile.parse(path.read_text("utf-8"), "").value
    change(value)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")


@pytest.fixture
def stage(folder):
    """Set keys of a stage; return its file."""

    def change(name="beijing", **keys):
        path = folder / "deploy.yaml"
        rewritten(path, lambda value: value["stages"][name].update(keys))
        rewritten(path, lambda value: value.update(stages={name: value["stages"][name]}))
        return path

    return change


@pytest.fixture
def fleet(folder):
    def change(fleet_id, *removed, **keys):
        def set_(value):
            [row] = [row for row in value["fleets"] if row["id"] == fleet_id]
            row.update(keys)
            for key in removed:
                del row[key]

        rewritten(folder / "fleets.yaml", set_)

    return change


def refused(path):
    with pytest.raises(Invalid) as told:
        stages(path)
    return str(told.value)


def planned(stage):
    return plan(stage, currency.prices_of(stage, PRICES, CHINA))


# ---- what is refused -----------------------------------------------------------------------------


def test_the_example_stands_in_both_regions():
    assert [(one.region, one.partition, one.size) for one in FOUND.values()] == [
        ("cn-northwest-1", "aws-cn", "prod"),
        ("cn-north-1", "aws-cn", "small"),
    ]
    made = [(lane.on, lane.family, lane.instance) for lane in NINGXIA.lanes]
    assert made == [("ecs", "cpu", "c8g.xlarge"), ("ecs", "cuda", "p4d.24xlarge")]
    assert BEIJING.lanes == ()
    assert NINGXIA.signed
    assert BEIJING.signed


@pytest.mark.parametrize(
    ("instance", "engine", "where"),
    [
        ("p5.48xlarge", "vllm", "no region of this partition"),
        ("g6e.48xlarge", "vllm", "no region of this partition"),
        ("trn2.48xlarge", "vllm-neuron", "no region of this partition"),
        ("inf2.48xlarge", "vllm-neuron", "no region of this partition"),
    ],
)
def test_a_family_that_china_lacks_is_refused(stage, fleet, instance, engine, where):
    fleet("scout-ningxia", instance=instance, engine=engine)
    said = refused(stage("ningxia"))
    assert f"EC2 has no `{instance}` in cn-northwest-1 (it has in: {where}; there are: " in said
    assert "c8g.xlarge, " in said
    assert "p4d.24xlarge)" in said


def test_eks_is_for_commercial_regions(stage, fleet):
    runs = {"on": "eks", "weights": "s3://ours/scout/"}
    fleet("scout-ningxia", runs=runs)
    assert "`on: eks` is for the commercial regions" in refused(stage("ningxia"))


def test_p4d_is_in_ningxia_alone(stage, fleet):
    fleet("scout-https", region="cn-north-1")
    said = refused(stage())
    assert "EC2 has no `p4d.24xlarge` in cn-north-1 (it has in: cn-northwest-1; there are: " in said


def test_sagemaker_has_no_graviton_there_no_openai_path_and_no_components(stage, fleet):
    sagemaker = {"kind": "sagemaker", "endpoint": "qwen3", "instance": "ml.c8g.xlarge"}
    fleet("qwen3-beijing", "url", "api_key", **sagemaker, protocol="invoke_endpoint")
    assert "SageMaker has no `ml.c8g.xlarge` in cn-north-1" in refused(stage())
    fleet("qwen3-beijing", "protocol", inference_component="one")
    said = refused(stage())
    assert "OpenAI path is not known in the regions of China" in said
    assert "write `protocol: invoke_endpoint`" in said
    assert "SageMaker in China has no inference components" in said


def test_tokens_of_an_issuer_have_no_place_beside_a_signature(stage, folder):
    (folder / "auth.yaml").write_text(
        "version: 1\njwt: {issuer: 'https://login.example.cn', audience: sluice, "
        "give: {tenant: acme}}\n"
    )
    said = refused(stage(auth={"modes": ["keys", "jwt"], "config": "auth.yaml"}))
    assert "deploy.yaml:" in said
    assert "asks every caller for a signature of AWS" in said
    assert "`keys` (in x-sluice-key)" in said


def test_govcloud_stays_refused_with_what_is_supported(stage):
    said = refused(stage(partition="aws-us-gov", region="us-gov-west-1"))
    assert "`aws-us-gov` is not supported by this version (supported: aws, aws-cn)" in said


def test_a_certificate_of_the_commercial_partition_is_refused(stage):
    certificate = "arn:aws:acm:us-east-1:111122223333:certificate/01234567-89ab-cdef-0123-456789ab"
    said = refused(stage("ningxia", domain={"name": "llm.example.cn", "certificate": certificate}))
    assert "it is of partition aws, the stage of aws-cn" in said


def test_a_name_that_the_internet_reaches_is_said_to_need_a_filing(stage):
    certificate = "arn:aws-cn:acm:cn-northwest-1:111122223333:certificate/01234567-89ab-cdef-0123"
    path = stage("ningxia", domain={"name": "llm.example.cn", "certificate": certificate})
    warnings = [str(one) for one in stages(path)["ningxia"].warnings]
    assert any("needs an ICP filing of its owner" in one for one in warnings)
    assert not any("ICP" in str(one) for one in NINGXIA.warnings)


# ---- what it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ningxia", "beijing"])
def test_no_line_is_priced_by_another_region_and_none_is_zero_for_want_of_a_price(name):
    found = planned(FOUND[name])
    for line in found.lines:
        assert (line.price.currency, line.price.region) == ("CNY", FOUND[name].region)
        assert line.usd is None or line.usd > 0
    assert found.unknown == sum(line.usd is None for line in found.lines) > 10


def test_a_request_to_ningxia_costs_what_its_list_says():
    rate = currency.rate(NINGXIA)
    by_key = {line.key: line for line in planned(NINGXIA).lines if line.per == "million"}
    assert currency.local(by_key["api-request"]) == pytest.approx(28.94)
    assert by_key["api-request"].usd == pytest.approx(28.94 * rate.usd)
    assert by_key["transfer-out"].price.per_unit == 0.933


def test_static_bgp_stands_beside_bgp_with_its_range():
    found = planned(BEIJING)
    ways = currency.transfer(found, CHINA)
    assert ways.bgp == pytest.approx(250 * 220 / 1e9 * 1e6 * 0.933)
    assert (ways.least, ways.most) == pytest.approx((ways.bgp * 0.3, ways.bgp * 0.8))
    [note] = [line for line in currency.notes(found, CHINA) if "Static BGP" in line]
    assert "20% to 70% less by S1" in note
    assert currency.transfer(planned(replace(NINGXIA, private=True)), CHINA) is None


def test_the_break_even_is_unknown_where_a_price_of_it_is():
    for stage in (NINGXIA, replace(NINGXIA, compute=Compute(on="fargate", memory_mb=2048))):
        assert planned(stage).break_even is None


def test_sums_say_what_is_unknown_of_them():
    found = planned(NINGXIA)
    waf = [line for line in found.lines if line.group == "waf"]
    assert currency.amounts(waf, NINGXIA) == ("unknown", "unknown")
    assert currency.headline(list(found.lines), NINGXIA).count(" + unknown") == 2
    assert currency.amounts([], NINGXIA, ",.2f") == ("0.00", "0.00")


def test_the_owner_s_own_rate_goes_before_the_packaged_one(folder):
    (folder / "prices.yaml").write_text(
        "version: 1\ncurrency: USD\nprices: []\n"
        "exchange: [{currency: CNY, usd: 0.15, as_of: 2026-11-01, source: our treasury}]\n"
    )
    stage = stages(folder / "deploy.yaml")["ningxia"]
    assert currency.rate(stage).usd == 0.15
    assert currency.budget(stage, 3000) == (20000, "CNY")


def test_a_commercial_stage_pays_as_before():
    dev = stages(Path("infra/examples/deploy.yaml"))["dev"]
    assert currency.prices_of(dev, PRICES, CHINA) is PRICES
    assert currency.rate(dev) is None
    assert currency.budget(dev, 50) == (50, "USD")
    assert currency.notes(planned(dev), CHINA) == []


def test_machines_of_which_all_is_unknown_cost_unknown_and_not_nothing():
    assert currency.machines_headline([None], NINGXIA) == "unknown"
    assert currency.machines([None, 1.4774], NINGXIA) == ("10.00 + unknown", "1.48 + unknown")
    said = currency.machines_headline([None, 1.4774], NINGXIA)
    assert said == "CNY 10.00 + unknown ($1.48 + unknown)"
