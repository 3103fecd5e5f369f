"""Which container the machines of a lane pull, and what they can't."""

from dataclasses import replace
from pathlib import Path

import pytest

from backends import availability, files, images
from router.deploy import images as deployed
from router.deploy.lane import Unmade
from router.deploy.read import stages
from yamlfile import Invalid

TEXT = files.packaged("backends", "data", "images.yaml").text


@pytest.fixture(scope="module")
def lanes():
    stage = stages(Path("infra/examples/lanes/deploy.yaml"))["lanes"]
    return {each.fleet.id: each for each in stage.lanes}


def of(lane, image):
    assert lane.fleet.runs is not None
    runs = replace(lane.fleet.runs, image=image)
    return replace(lane, fleet=replace(lane.fleet, runs=runs))


def test_vllm_on_gpus_comes_from_the_registry_of_its_region(lanes):
    found = deployed.image(lanes["scout-p5"], "aws", "us-east-2")
    assert found == "763104351884.dkr.ecr.us-east-2.amazonaws.com/vllm:server-cuda-v2.5"
    assert deployed.before(lanes["scout-p5"]) == ()


def test_in_china_it_comes_from_the_registry_there(lanes):
    found = deployed.image(lanes["scout-p4d"], "aws-cn", "cn-northwest-1")
    registry = "727897471807.dkr.ecr.cn-northwest-1.amazonaws.com.cn"
    assert found == f"{registry}/vllm:server-cuda-v2.5"


def test_an_opt_in_region_has_an_account_of_its_own(lanes):
    found = deployed.image(lanes["scout-g6e"], "aws", "ap-south-2")
    assert found is not None
    assert found.startswith("772153158452.dkr.ecr.ap-south-2.")


def test_vllm_on_neuron_is_in_a_public_registry_alone_and_copied_from_it(lanes):
    trn2, inf2 = lanes["scout-trn2"], lanes["scout-inf2"]
    assert deployed.image(trn2, "aws", "us-east-2") is None
    assert "sdk2.33.0" in (deployed.copied(trn2) or "")
    assert "vllm-neuronx:0.16.0" in (deployed.copied(inf2) or "")  # later ones have no Inferentia2
    assert deployed.before(trn2) == ("vllm", "serve")


def test_llama_cpp_is_built(lanes):
    assert deployed.image(lanes["qwen3-graviton"], "aws", "us-east-2") is None
    assert deployed.copied(lanes["qwen3-graviton"]) is None


def test_a_fleets_own_image_goes_first(lanes):
    own = "111122223333.dkr.ecr.us-east-2.amazonaws.com/ours/vllm:1"
    assert deployed.image(of(lanes["scout-trn2"], own), "aws", "us-east-2") == own
    assert deployed.copied(of(lanes["scout-trn2"], own)) is None


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("docker.io/vllm/vllm-openai:v0.30.0", "is in no registry of ECR"),
        ("public.ecr.aws/deep-learning-containers/vllm:server-cuda", "is in no registry of ECR"),
        ("111122223333.dkr.ecr.us-east-1.amazonaws.com/vllm:1", "is in us-east-1"),
        ("111122223333.dkr.ecr.us-east-2.amazonaws.com.cn/vllm:1", "is in us-east-2"),
        ("dkr.ecr.us-east-2.amazonaws.com/vllm:1", "is in no registry of ECR"),
    ],
)
def test_an_image_that_the_network_cant_reach_is_refused_with_the_fix(lanes, own, said):
    with pytest.raises(Unmade) as told:
        deployed.image(of(lanes["scout-p5"], own), "aws", "us-east-2")
    assert told.value.key == ("runs", "image")
    assert said in str(told.value)
    assert "123456789012.dkr.ecr.us-east-2.amazonaws.com/vllm" in str(told.value)


def test_a_region_without_a_known_registry_asks_for_an_image(lanes):
    with pytest.raises(Unmade, match="us-gov-west-1") as told:
        deployed.image(lanes["scout-p5"], "aws-us-gov", "us-gov-west-1")
    assert "`image: " in str(told.value)


def test_in_china_the_container_for_arm_is_built_by_its_owner(lanes):
    with pytest.raises(Unmade, match="CodeBuild builds nothing for Arm in cn-north-1") as told:
        deployed.image(lanes["qwen3-graviton"], "aws-cn", "cn-north-1")
    assert "dkr.ecr.cn-north-1.amazonaws.com.cn/" in str(told.value)


def test_every_region_of_the_table_is_of_its_partition():
    table = images.read(TEXT, "images.yaml")
    china = {region for region in table.accounts if region.startswith("cn-")}
    assert china == {"cn-north-1", "cn-northwest-1"}
    assert all(availability.partition_of(region) for region in table.accounts)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("image: vllm:server-cuda-v2.5", "image: vllm", "a repository and a tag"),
        ('account: "626614931356"', "account: 626614931356", "is not a text"),
        ("regions: [af-south-1]", "regions: [us-east-1]", "`us-east-1` stands here twice"),
        ("    image: vllm:server-cuda-v2.5\n", "", "images[0]"),
    ],
)
def test_a_wrong_table_is_told_with_its_line(old, new, said):
    assert old in TEXT
    with pytest.raises(Invalid) as told:
        images.read(TEXT.replace(old, new, 1), "images.yaml")
    assert said in str(told.value)
    assert "images.yaml:" in str(told.value)
