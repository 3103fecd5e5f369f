"""The stack `Eks`: a stage with all its fleets on EKS."""

import dataclasses
import json
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import aws_cdk as cdk
import on_eks
import pytest
from aws_cdk import assertions
from cdk_nag import AwsSolutionsChecks
from template import Template, listed

from backends import aws_prices, files
from infra import app as infra_app
from infra import stacks
from infra.network import Network
from router.deploy import parts
from router.deploy.covers import COVERS, Paid
from router.deploy.kubernetes import manifests
from router.deploy.plan import plan

ROOT = Path(__file__).parents[2]
CLUSTER = "sluice-lanes"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the stage and the folder with its templates."""
    folder = tmp_path_factory.mktemp("eks")
    stage, bundle = on_eks.stage(folder), folder / "bundle"
    bundle.mkdir()
    (bundle / "Dockerfile").write_text("FROM scratch\n", "utf-8")
    made = cdk.App(context=dict(infra_app.context()), outdir=str(folder / "out"))
    cdk.Validations.of(made).add_plugins(AwsSolutionsChecks(made))
    stacks.add(made, stage, bundle)
    made.synth()
    return stage, folder / "out"


@pytest.fixture(scope="module")
def stage(made):
    return made[0]


def template(folder, name):
    path = folder / f"{CLUSTER}-{name}.template.json"
    return Template(json.loads(path.read_text("utf-8")))


@pytest.fixture(scope="module")
def eks(made):
    return template(made[1], "Eks")


def test_no_rule_of_cdk_nag_is_broken_without_a_reason(made):
    report = json.loads((made[1] / "validation-report.json").read_text("utf-8"))
    (nag,) = (one for one in report["pluginReports"] if one["pluginName"] == "AwsSolutions")
    assert nag["conclusion"] == "success", nag.get("violations")


def test_cfn_lint_finds_no_error(made):
    command = [Path(sys.executable).with_name("cfn-lint"), "--regions", "us-east-2"]
    command += ["--non-zero-exit-code", "error", "--"]
    command += [made[1] / f"{CLUSTER}-{name}.template.json" for name in ("Eks", "Images")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout


def test_the_cluster_is_in_auto_mode_private_encrypted_logged_and_entered_by_its_api_alone(eks):
    cluster = eks.one("EKS::Cluster")
    assert cluster["Name"] == CLUSTER
    assert cluster["ComputeConfig"]["Enabled"] is True
    assert cluster["KubernetesNetworkConfig"]["ElasticLoadBalancing"] == {"Enabled": True}
    assert cluster["StorageConfig"] == {"BlockStorage": {"Enabled": True}}
    network = cluster["ResourcesVpcConfig"]
    assert (network["EndpointPublicAccess"], network["EndpointPrivateAccess"]) == (False, True)
    assert [one["Resources"] for one in cluster["EncryptionConfig"]] == [["secrets"]]
    assert len(cluster["Logging"]["ClusterLogging"]["EnabledTypes"]) == 5
    assert cluster["AccessConfig"] == {
        "AuthenticationMode": "API",
        "BootstrapClusterCreatorAdminPermissions": False,
    }


def test_the_role_of_eks_s_own_pools_has_no_entry_of_ours_for_eks_makes_it(eks):
    cluster = eks.one("EKS::Cluster")["ComputeConfig"]
    assert cluster["NodePools"] == ["general-purpose", "system"]
    entered = [one["PrincipalArn"] for one in eks.all("EKS::AccessEntry")]
    assert cluster["NodeRoleArn"] not in entered


def test_a_first_deployment_that_fails_can_take_its_cluster_and_its_balancer_back(eks):
    assert eks.one("EKS::Cluster")["DeletionProtection"] is False
    rows = eks.one("ElasticLoadBalancingV2::LoadBalancer")["LoadBalancerAttributes"]
    assert {"Key": "deletion_protection.enabled", "Value": "false"} in rows


def test_the_observer_may_look_into_the_fleets_namespaces(eks, stage):
    entry = eks.one("EKS::AccessEntry")
    (view,) = entry["AccessPolicies"]
    assert str(view["PolicyArn"]).find("AmazonEKSViewPolicy") > 0
    spaces = [f"sluice-{lane.name}" for lane in stage.lanes]
    assert view["AccessScope"] == {"Type": "namespace", "Namespaces": spaces}


def test_each_fleet_s_pods_read_its_weights_and_keda_the_wake_items_and_nothing_else(eks, stage):
    known = {one["Namespace"]: one for one in eks.all("EKS::PodIdentityAssociation")}
    assert set(known) == {"keda", *(f"sluice-{lane.name}" for lane in stage.lanes)}
    assert known["keda"]["ServiceAccount"] == "keda-operator"
    rights = {}
    for role, statement in eks.statements("IAM::Policy"):
        rights.setdefault(role, []).append(statement)
    (keda,) = (rows for role, rows in rights.items() if "Keda" in role)
    query = keda[0]
    assert listed(query["Action"]) == ["dynamodb:Query"]
    assert query["Condition"] == {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["WAKE"]}}
    assert [listed(one["Action"]) for one in keda[1:]] == [["kms:Decrypt"]]
    (scout,) = (rows for role, rows in rights.items() if "WeightsScoutP5" in role)
    assert {action for one in scout for action in listed(one["Action"])} == {
        "s3:GetObject",
        "s3:ListBucket",
    }
    assert "llama-4-scout/*" in str(scout)
    (qwen,) = (rows for role, rows in rights.items() if "WeightsQwen3" in role)
    assert "qwen3-0.6b/model.gguf" in str(qwen)
    assert "*" not in str(qwen)


def test_the_balancer_is_inside_speaks_tls_alone_and_has_each_fleet_s_name(eks, stage):
    assert eks.one("ElasticLoadBalancingV2::LoadBalancer")["Scheme"] == "internal"
    listener = eks.one("ElasticLoadBalancingV2::Listener")
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    assert listener["DefaultActions"][0]["FixedResponseConfig"]["StatusCode"] == "404"
    hosts = [
        condition["HostHeaderConfig"]["Values"][0]
        for rule in eks.all("ElasticLoadBalancingV2::ListenerRule")
        for condition in rule["Conditions"]
    ]
    assert sorted(hosts) == sorted(lane.fleet.urls[0][8:-3] for lane in stage.lanes)
    zone = eks.one("Route53::HostedZone")
    assert zone["Name"] == "models.example.com."
    assert zone["VPCs"]
    names = [one["Name"] for one in eks.all("Route53::RecordSet")]
    assert sorted(names) == sorted(f"{host}." for host in hosts)


def test_auto_mode_may_fill_the_target_groups_and_the_manifests_are_told_of_them(eks, stage):
    groups = eks.all("ElasticLoadBalancingV2::TargetGroup")
    for group in groups:
        assert group["TargetType"] == "ip"
        late = group["HealthCheckIntervalSeconds"] * group["UnhealthyThresholdCount"]
        assert late >= 300  # an engine under its whole load answers late
        assert {"Key": "eks:eks-cluster-name", "Value": CLUSTER} in group["Tags"]
    ports = sorted(group["Port"] for group in groups)
    assert ports == sorted(lane.port for lane in stage.lanes)
    told = {name for name in eks.outputs if name.startswith("Target")}
    assert len(told) == len(stage.lanes)


def test_the_network_s_ways_are_those_that_are_used(eks):
    rules = eks.all("EC2::SecurityGroupIngress")
    assert sorted(rule["FromPort"] for rule in rules) == [443, 443, 443, 8000, 8080]
    assert not [rule for rule in rules if "CidrIp" in rule]


def test_the_subnets_are_found_by_the_manifests_tags(made):
    tag = {"Key": "kubernetes.io/role/internal-elb", "Value": "1"}
    subnets = template(made[1], "Router").all("EC2::Subnet")
    tagged = [subnet["CidrBlock"] for subnet in subnets if tag in subnet["Tags"]]
    assert tagged == ["10.0.0.0/22", "10.0.4.0/22"]


@pytest.mark.parametrize("on", ["lambda", "fargate"])
def test_no_subnet_but_the_balancer_s_has_the_addresses_that_pods_let_in(stage, on):
    stack = cdk.Stack(cdk.App(), "Router", env=cdk.Environment(region=stage.region))
    compute = dataclasses.replace(stage.compute, on=on)
    Network(stack, "Network", stage=dataclasses.replace(stage, compute=compute, private=False))
    known = assertions.Template.from_stack(stack).find_resources("AWS::EC2::Subnet")
    front = ip_network(parts.BALANCER_ADDRESSES)
    found = {name: ip_network(one["Properties"]["CidrBlock"]) for name, one in known.items()}
    let_in = [name for name, addresses in found.items() if addresses.overlaps(front)]
    assert len(let_in) == parts.ZONES
    assert all("front" in name and found[name].subnet_of(front) for name in let_in)


def test_the_balancer_is_in_the_subnets_of_its_own(made, eks):
    named = template(made[1], "Router").resources
    own = [name for name, one in named.items() if "front" in name and "Subnet" in one["Type"]]
    placed = str(eks.one("ElasticLoadBalancingV2::LoadBalancer")["Subnets"])
    assert placed.count("front") == parts.ZONES
    assert own
    assert "inside" not in placed


def test_what_a_cluster_without_a_way_out_calls_has_its_endpoint(made, stage):
    assert {"Ec2", "EcrApi", "EcrDocker", "Eks", "EksAuth"} <= set(parts.endpoints(stage))
    names = str(template(made[1], "Router").all("EC2::VPCEndpoint"))
    for service in (".ec2", ".ecr.api", ".ecr.dkr", ".eks", ".eks-auth"):
        assert f"{service}'" in names, service


def awaited(images):
    """Return (logical id of the repository, tag) of each image that a deployment waits for."""
    rows = [one for one in images.resources.values() if one["Type"] == "Custom::SluiceImage"]
    return {(one["Properties"]["Repository"]["Ref"], one["Properties"]["Tag"]) for one in rows}


def test_an_image_that_nobody_has_is_made_once_and_waited_for(made, eks):
    images = template(made[1], "Images")
    assert len(awaited(images)) == 3  # Neuron's of Trainium2, of Inferentia2 for both; llama.cpp's
    assert len(images.all("CodeBuild::Project")) == 3
    assert len(images.all("ECR::Repository")) == 2  # one for all versions of Neuron's
    assert not eks.all("ECR::Repository")
    artifacts = json.loads((made[1] / "manifest.json").read_text("utf-8"))["artifacts"]
    assert f"{CLUSTER}-Images" in artifacts[f"{CLUSTER}-Eks"]["dependencies"]


def test_a_new_version_changes_no_name_that_other_stacks_import(made, eks):
    images = template(made[1], "Images")
    versions = {tag for ref, tag in awaited(images) if "Copies" in ref}
    assert len(versions) == 2
    (neuron,) = (n for n in images.all("ECR::Repository") if "neuron" in n["RepositoryName"])
    imported = json.dumps(eks.outputs["ImageScoutTrn2"])
    for tag in versions:
        assert tag not in neuron["RepositoryName"]
    assert neuron["RepositoryName"].endswith("/neuron/pytorch-inference-vllm-neuronx")
    assert "LifecyclePolicy" not in neuron  # the older fleet's version would go first
    assert "CopiesNeuronPytorchInferenceVllmNeuronxRepository" in imported


def test_the_manifests_are_told_the_image_that_is_waited_for(made, eks, stage):
    told = {name: one["Value"] for name, one in eks.outputs.items() if name.startswith("Image")}
    assert set(told) == {manifests.output("Image", lane) for lane in manifests.stored(stage)}
    known = awaited(template(made[1], "Images"))
    seen = set()
    for name, value in told.items():
        *_, place, tag = value["Fn::Join"][1]
        imported = place["Fn::ImportValue"].removeprefix(f"{CLUSTER}-Images:ExportsOutputRef")
        (found,) = ((ref, at) for ref, at in known if imported.startswith(ref) and tag == f":{at}")
        seen.add(found)
        assert ("llama" in found[0].lower()) is (name == "ImageQwen3Graviton")
    assert seen == known
    assert told["ImageScoutInf2"] == told["ImageScoutInf2Spot"]


def test_every_resource_has_a_line_of_the_plan_or_a_reason_why_it_is_free(made, eks, stage):
    both = (eks, template(made[1], "Images"))
    kinds = {resource["Type"] for one in both for resource in one.resources.values()}
    assert sorted(kinds - COVERS.keys()) == []
    source = files.packaged("backends", "data", "aws.yaml")
    planned = plan(stage, aws_prices.read(source.text, source.name)).lines
    for kind in kinds:
        found = COVERS[kind]
        if isinstance(found, Paid):
            assert {line.key for line in planned} & set(found.lines), kind
    assert "eks-auto" in {line.key for line in planned if line.usd is None}
