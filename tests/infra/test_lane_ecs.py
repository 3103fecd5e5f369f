"""Fleets on ECS as their templates have them: machines, tasks, who reaches whom, how it scales."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ecs_stages import EXAMPLE, FLEETS, synthesise, written
from template import Template, listed, plain

from infra.lanes.ecs_shared import priorities
from infra.lanes.ecs_task import going_s
from infra.paths import ROOT
from router.deploy import read
from router.deploy.covers import COVERS

DEADLINE_S = 120  # of the example's policy


class Made:
    """`said`: what failed the synthesis, if anything did."""

    def __init__(self, folder, said):
        self.folder, self.said = folder, said

    def stack(self, name):
        path = self.folder / f"sluice-{name}.template.json"
        return Template(json.loads(path.read_text("utf-8")))

    def fleet(self, host, stage="bought"):
        return self.stack(f"{stage}-Fleet-{host}")

    def machines(self, host, kind, stage="bought"):
        found = self.stack(f"{stage}-Lanes").resources
        name = f"EcsMachines{host.replace('-', '')}"
        return [
            one["Properties"]
            for logical, one in found.items()
            if re.match(f"{name}[A-Z]", logical) and one["Type"] == f"AWS::{kind}"
        ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecs")
    example = read.stages(EXAMPLE / "deploy.yaml")["lanes"]
    bought = written(folder / "bought", FLEETS)
    said = None
    try:
        synthesise(folder / "out", example, bought)
    except RuntimeError as exc:
        said = str(exc)
    return Made(folder / "out", said)


def engine(template, family=None):
    (found,) = (
        one["ContainerDefinitions"][0]
        for one in template.all("ECS::TaskDefinition")
        if family is None or one["Family"].endswith(f"-{family}")
    )
    return found


def option(container, flag):
    command = container["Command"]
    return command[command.index(flag) + 1]


def service(template, name):
    (found,) = (one for one in template.all("ECS::Service") if one["ServiceName"].endswith(name))
    return found


def target(template, name):
    (found,) = (
        one
        for one in template.all("ApplicationAutoScaling::ScalableTarget")
        if one["ResourceId"].endswith(name)
    )
    return found


def weights_of(place):
    return f"w{hashlib.sha256(f's3://{place}'.encode()).hexdigest()[:12]}"


SCOUT_WEIGHTS = weights_of("example-models/llama-4-scout/")


def boot(template):
    return template["LaunchTemplateData"]["UserData"]["Fn::Base64"]


# -- the templates as a whole ----------------------------------------------------------------------


def test_they_synthesise_and_no_rule_of_cdk_nag_is_broken_without_a_reason(made):
    report = json.loads((made.folder / "validation-report.json").read_text("utf-8"))
    broken = [
        (one["ruleName"], where["constructPath"])
        for plugin in report["pluginReports"]
        for one in plugin.get("violations") or ()
        for where in one["violatingConstructs"]
    ]
    assert (made.said, broken) == (None, [])


def test_cfn_lint_finds_no_error(made):
    command = [Path(sys.executable).with_name("cfn-lint"), "--regions", "us-east-2"]
    wanted = map(str, sorted(made.folder.glob("*.template.json")))
    command += ["--non-zero-exit-code", "error", "--", *wanted]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout


def test_each_host_has_a_stack_of_its_own_and_all_share_one(made):
    found = {path.name.split(".")[0] for path in made.folder.glob("*lanes-*.template.json")}
    hosts = ("p5", "p4d", "g6e", "trn2", "inf2", "inf2-spot")
    assert found - {"sluice-lanes-Router"} == {
        "sluice-lanes-Images",
        "sluice-lanes-Lanes",
        *(f"sluice-lanes-Fleet-scout-{host}" for host in hosts),
    }


def test_a_fleet_waits_for_its_image_and_two_fleets_share_one(made):
    manifest = json.loads((made.folder / "manifest.json").read_text("utf-8"))["artifacts"]
    for host, waits in (("scout-trn2", True), ("inf2-1", True), ("scout-p5", False)):
        needs = manifest[f"sluice-bought-Fleet-{host}"]["dependencies"]
        assert "sluice-bought-Lanes" in needs
        assert ("sluice-bought-Images" in needs) is waits
    copied = made.stack("bought-Images").all("ECR::Repository")
    assert len(copied) == 2  # all versions of Neuron's, llama.cpp's
    for name in ("first", "second"):
        assert "sluice-bought-Images" in json.dumps(engine(made.fleet("inf2-1"), name)["Image"])


def test_every_kind_of_resource_has_its_price_or_its_reason(made):
    kinds = {
        one["Type"]
        for path in made.folder.glob("*.template.json")
        for one in json.loads(path.read_text("utf-8"))["Resources"].values()
    }
    assert sorted(kinds - COVERS.keys()) == []


# -- S2's five shapes ------------------------------------------------------------------------------

SHAPES = [  # host, devices, tensor parallel, context, folder of the image
    ("scout-p5", 8, "8", "65536", "gpu/"),
    ("scout-p4d", 8, "8", "16384", "gpu/"),
    ("scout-g6e", 8, "8", "16384", "gpu/"),
    ("scout-trn2", 16, "64", "16384", "neuron/"),
    ("scout-inf2", 12, "24", "8192", "neuron/"),
]


@pytest.mark.parametrize(("host", "devices", "parallel", "context", "folder"), SHAPES)
def test_a_shape_s_launch_settings_devices_and_image_are_in_its_template(
    made, host, devices, parallel, context, folder
):
    container = engine(made.fleet(host, "lanes"))
    assert option(container, "--tensor-parallel-size") == parallel
    assert option(container, "--max-model-len") == context
    assert option(container, "--dtype") == "bfloat16"
    assert option(container, "--served-model-name") == "llama-4-scout"
    assert f"/models/{host}" in container["Command"]
    assert {"ContainerPath": f"/models/{host}", "ReadOnly": True, "SourceVolume": "models"} in (
        container["MountPoints"]
    )
    gpus = [one["Value"] for one in container.get("ResourceRequirements", ())]
    chips = [one["HostPath"] for one in container["LinuxParameters"].get("Devices", ())]
    if folder == "gpu/":
        assert (gpus, chips) == ([str(devices)], [])
    else:
        assert (gpus, chips) == ([], [f"/dev/neuron{number}" for number in range(devices)])
    (template,) = made.machines(host, "EC2::LaunchTemplate", "lanes")
    parameter = plain(template["LaunchTemplateData"]["ImageId"])
    assert f"amazonlinux2023{folder.strip('/')}recommendedimageid" in parameter


def test_vllm_serve_takes_the_model_as_its_first_argument(made):
    command = engine(made.fleet("scout-trn2", "lanes"))["Command"]
    assert command[:3] == ["vllm", "serve", "/models/scout-trn2"]
    assert "--model" not in command


def test_an_engine_asks_nobody_outside_and_keeps_what_it_compiled_on_its_machine(made):
    for host in ("scout-p5", "scout-inf2"):
        container = engine(made.fleet(host, "lanes"))
        told = {one["Name"]: one["Value"] for one in container["Environment"]}
        assert told["HF_HUB_OFFLINE"] == told["VLLM_NO_USAGE_STATS"] == "1"
        assert {"ContainerPath": "/cache", "ReadOnly": False, "SourceVolume": "cache"} in (
            container["MountPoints"]
        )
        compiled = told.get("NEURON_COMPILE_CACHE_URL")
        assert compiled == ("/cache/neuron" if host == "scout-inf2" else None)
        binaries = told.get("TORCH_NEURONX_NEFF_CACHE_DIR")
        assert binaries == ("/cache/neff" if host == "scout-inf2" else None)


def test_weights_lie_on_the_machine_s_own_disks_or_on_a_volume_that_they_fit(made):
    sizes = {}
    for host, *_ in SHAPES:
        (template,) = made.machines(host, "EC2::LaunchTemplate", "lanes")
        (disk,) = template["LaunchTemplateData"]["BlockDeviceMappings"]
        assert disk["Ebs"]["Encrypted"] is True
        assert disk["Ebs"]["VolumeType"] == "gp3"
        sizes[host] = disk["Ebs"]["VolumeSize"]
    # 218 GB of weights: inf2 has no disks of its own, the others have.
    assert sizes.pop("scout-inf2") >= 100 + 218 * 1.1
    assert set(sizes.values()) == {100}


# -- a machine -------------------------------------------------------------------------------------


def test_a_machine_gets_its_weights_before_it_takes_tasks(made):
    (template,) = made.machines("scout-p4d", "EC2::LaunchTemplate")
    lines = boot(template).splitlines()
    fetched = lines.index(
        "aws s3 sync --only-show-errors s3://example-models/llama-4-scout/ "
        f"/sluice/models/scout-p4d-{SCOUT_WEIGHTS}"
    )
    joined = lines.index("ECS_CLUSTER=sluice-bought")
    (installed,) = [n for n, line in enumerate(lines) if line.startswith("dnf install")]
    assert installed < fetched < joined
    assert "set -euo pipefail" in lines
    assert any("shutdown -h now' ERR" in line for line in lines)
    assert template["LaunchTemplateData"]["InstanceInitiatedShutdownBehavior"] == "terminate"


def test_a_task_runs_on_a_machine_that_has_its_weights_and_on_no_older_one(made):
    """Weights that change are another version: in the task's folder, its place, its machine."""
    fleet = made.fleet("g6e-1")
    (template,) = made.machines("g6e-1", "EC2::LaunchTemplate")
    (said,) = (line for line in boot(template).splitlines() if "INSTANCE_ATTRIBUTES" in line)
    has = json.loads(said.partition("=")[2])
    places = {"left": "example-models/qwen3/", "right": "example-models/other/model/"}
    assert has == {f"sluice.weights.{name}": weights_of(of) for name, of in places.items()}
    for name, of in places.items():
        wanted = f"attribute:sluice.weights.{name} == {weights_of(of)}"
        (constraint,) = service(fleet, f"-{name}")["PlacementConstraints"]
        assert constraint == {"Type": "memberOf", "Expression": wanted}
        (task,) = (
            one for one in fleet.all("ECS::TaskDefinition") if one["Family"].endswith(f"-{name}")
        )
        paths = {one["Name"]: one["Host"]["SourcePath"] for one in task["Volumes"]}
        assert paths == {
            "models": f"/sluice/models/{name}-{weights_of(of)}",
            "cache": f"/sluice/cache/{name}-{weights_of(of)}",
        }


def test_a_group_has_room_for_a_machine_with_changed_weights_beside_the_old_ones(made):
    (group,) = made.machines("scout-p4d", "AutoScaling::AutoScalingGroup")
    assert group["MaxSize"] == "3"  # the fleet's most is 2


def test_its_script_is_one_that_bash_can_read(made, tmp_path):
    for host in ("scout-p5", "g6e-1", "graviton"):
        for template in made.machines(host, "EC2::LaunchTemplate"):
            script = tmp_path / "boot.sh"
            script.write_text(boot(template), "utf-8")
            ended = subprocess.run(["bash", "-n", script], capture_output=True, check=False)
            assert (ended.returncode, ended.stderr) == (0, b"")


AGENT = "/opt/aws/amazon-cloudwatch-agent"
AGENTS_OWN = f"{AGENT}/bin/amazon-cloudwatch-agent-ctl"
STUBS = ("dnf", "mdadm", "mkfs.xfs", "mount", "shutdown", "aws", "lsblk", "sleep", "agent-ctl")


def booted(script, folder, *, disks=(), failing="nothing"):
    """Run a machine's script with programs that only say how they were called, in a folder."""
    programs, told = folder / "bin", folder / "told"
    script = script.replace(AGENTS_OWN, str(programs / "agent-ctl"))
    for made in (programs, folder / "etc" / "ecs", Path(f"{folder}{AGENT}/etc")):
        made.mkdir(parents=True)
    for name in STUBS:
        said = "".join(f"echo '{disk} Amazon EC2 NVMe Instance Storage'\n" for disk in disks)
        fails = f'case "$*" in *"{failing}"*) exit 1;; esac\n'
        reads = "cat > /dev/null\n" if name == "dnf" else ""  # as a package's script may
        body = said if name == "lsblk" else f'echo "{name} $*" >> {told}\n{reads}{fails}'
        (programs / name).write_text(f"#!/bin/bash\n{body}", "utf-8")
        (programs / name).chmod(0o755)
    for place in ("/sluice", "/etc/", "/dev/console", AGENT):
        script = script.replace(f" {place}", f" {folder}{place}")
    (folder / "dev").mkdir()
    subprocess.run(
        ["bash", "-c", script],
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    config = folder / "etc" / "ecs" / "ecs.config"
    return told.read_text("utf-8").splitlines(), config.exists()


def test_a_machine_s_own_disks_become_one_before_weights_go_onto_it(made, tmp_path):
    (template,) = made.machines("scout-p4d", "EC2::LaunchTemplate")
    told, joined = booted(boot(template), tmp_path, disks=("/dev/nvme1n1", "/dev/nvme2n1"))
    assert joined
    did = [line.split(" ")[0] for line in told]
    assert did == ["dnf", "agent-ctl", "dnf", "mdadm", "mkfs.xfs", "mount", "aws", "aws"]
    assert "--raid-devices=2 /dev/nvme1n1 /dev/nvme2n1" in told[3]


def test_a_machine_without_disks_of_its_own_makes_none(made, tmp_path):
    (template,) = made.machines("inf2-1", "EC2::LaunchTemplate")
    told, joined = booted(boot(template), tmp_path)
    assert joined
    assert [line.split(" ")[0] for line in told] == [
        *("dnf", "agent-ctl", "dnf", "aws", "aws", "aws")
    ]


def test_a_machine_s_start_and_its_agent_s_log_go_to_a_group_of_the_stage(made, tmp_path):
    (template,) = made.machines("scout-p4d", "EC2::LaunchTemplate")
    told, joined = booted(boot(template), tmp_path)
    assert joined
    config = Path(f"{tmp_path}{AGENT}/etc/sluice.json")
    assert told[1].endswith(f"-a fetch-config -m ec2 -s -c file:{AGENT}/etc/sluice.json")
    said = json.loads(config.read_text("utf-8"))
    assert said["agent"] == {"region": "us-east-2"}
    rows = said["logs"]["logs_collected"]["files"]["collect_list"]
    assert {row["log_group_name"] for row in rows} == {"/sluice/bought/machines"}
    assert {row["log_stream_name"]: row["file_path"] for row in rows} == {
        "{instance_id}/boot": "/var/log/cloud-init-output.log",
        "{instance_id}/ecs": "/var/log/ecs/ecs-agent.log*",
    }
    logs = made.stack("bought-Lanes").all("Logs::LogGroup")
    kept_days = {log.get("LogGroupName"): log["RetentionInDays"] for log in logs}
    assert kept_days["/sluice/bought/machines"] == 30


def test_a_machine_that_gets_no_program_for_its_logs_serves_as_well(made, tmp_path):
    (template,) = made.machines("scout-p4d", "EC2::LaunchTemplate")
    told, joined = booted(boot(template), tmp_path, failing="amazon-cloudwatch-agent")
    assert joined
    assert [line.split(" ")[0] for line in told] == ["dnf", "dnf", "aws", "aws"]


@pytest.mark.parametrize("failing", ["awscli-2", "s3 sync", "--level=0"])
def test_a_machine_that_cant_be_prepared_ends_and_takes_no_task(made, tmp_path, failing):
    (template,) = made.machines("scout-p4d", "EC2::LaunchTemplate")
    told, joined = booted(boot(template), tmp_path, disks=("/dev/nvme1n1",), failing=failing)
    assert told[-2:] == ["sleep 15", "shutdown -h now"]  # until its log has the last line
    assert not joined
    assert "failed, this machine ends" in (tmp_path / "dev" / "console").read_text("utf-8")


def test_one_file_of_weights_is_fetched_alone(made):
    (template,) = made.machines("graviton", "EC2::LaunchTemplate")
    version = weights_of("example-models/qwen3/qwen3-0.6b-q4_k_m.gguf")
    place = f"/sluice/models/graviton-{version}/"
    said = f"aws s3 cp --only-show-errors s3://example-models/qwen3/qwen3-0.6b-q4_k_m.gguf {place}"
    assert said in boot(template).splitlines()


def test_a_machine_may_read_the_weights_of_its_fleets_and_nothing_else(made):
    lanes = made.stack("bought-Lanes")
    may = {}
    for name, statement in lanes.statements("IAM::Policy"):
        for action in listed(statement["Action"]):
            on = [plain(one).split(":::")[-1] for one in listed(statement["Resource"])]
            may.setdefault(name.split("Role")[0], {}).setdefault(action, []).extend(on)
    shared, single = may["EcsMachinesg6e1"], may["EcsMachinesgraviton"]
    assert shared["s3:GetObject"] == ["example-models/qwen3/*", "example-models/other/model/*"]
    assert single["s3:GetObject"] == ["example-models/qwen3/qwen3-0.6b-q4_k_m.gguf"]
    assert "s3:ListBucket" not in single
    for actions in (of for name, of in may.items() if name.startswith("EcsMachines")):
        assert {action for action in actions if not action.startswith("ecs:")} <= {
            *("s3:GetObject", "s3:ListBucket", "logs:CreateLogStream", "logs:PutLogEvents")
        }
    prefixes = [
        one["Condition"]
        for _, one in lanes.statements("IAM::Policy")
        if one["Action"] == "s3:ListBucket"
    ]
    assert {"StringLike": {"s3:prefix": "other/model/*"}} in prefixes
    assert all(set(one) == {"StringLike"} for one in prefixes)


def test_nobody_on_a_machine_but_its_agent_reaches_its_role(made):
    for template in made.stack("bought-Lanes").all("EC2::LaunchTemplate"):
        metadata = template["LaunchTemplateData"]["MetadataOptions"]
        assert metadata == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        assert "ECS_AWSVPC_BLOCK_IMDS=true" in boot(template).splitlines()


# -- how they are bought ---------------------------------------------------------------------------


def test_groups_begin_without_a_machine_and_follow_tasks(made):
    lanes = made.stack("bought-Lanes")
    for group in lanes.all("AutoScaling::AutoScalingGroup"):
        assert group["MinSize"] == "0"
        assert "DesiredCapacity" not in group
        assert group["NewInstancesProtectedFromScaleIn"] is True
    providers = lanes.all("ECS::CapacityProvider")
    for provider in providers:
        given = provider["AutoScalingGroupProvider"]
        assert given["ManagedDraining"] == given["ManagedTerminationProtection"] == "ENABLED"
        assert given["ManagedScaling"]["Status"] == "ENABLED"
    known = lanes.one("ECS::ClusterCapacityProviderAssociations")["CapacityProviders"]
    assert sorted(known) == sorted(provider["Name"] for provider in providers)


def test_spot_comes_after_so_many_by_the_hour_and_its_machines_are_drained(made):
    (block, general) = sorted(
        made.machines("scout-p5", "AutoScaling::AutoScalingGroup"), key=lambda one: one["MaxSize"]
    )
    assert general["MixedInstancesPolicy"]["InstancesDistribution"] == {
        "OnDemandBaseCapacity": 1,
        "OnDemandPercentageAboveBaseCapacity": 0,
        "SpotAllocationStrategy": "capacity-optimized",
    }
    assert "MixedInstancesPolicy" not in block
    for template in made.machines("scout-p5", "EC2::LaunchTemplate"):
        assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true" in boot(template).splitlines()


def test_a_reservation_is_filled_first(made):
    (group,) = made.machines("scout-p4d", "AutoScaling::AutoScalingGroup")
    assert group["CapacityReservationSpecification"] == {
        "CapacityReservationPreference": "capacity-reservations-first",
        "CapacityReservationTarget": {"CapacityReservationIds": ["cr-00000000000000001"]},
    }


def test_a_capacity_block_has_a_template_a_group_and_a_service_of_its_own(made):
    block, general = sorted(
        (one["LaunchTemplateData"] for one in made.machines("scout-p5", "EC2::LaunchTemplate")),
        key=lambda one: "InstanceMarketOptions" not in one,
    )
    assert block["InstanceMarketOptions"] == {"MarketType": "capacity-block"}
    assert block["CapacityReservationSpecification"]["CapacityReservationTarget"] == {
        "CapacityReservationId": "cr-0123456789abcdef0"
    }
    assert "CapacityReservationSpecification" not in general
    fleet = made.fleet("scout-p5")
    in_block = service(fleet, "scout-p5-block")
    assert in_block["CapacityProviderStrategy"][0]["CapacityProvider"] == (
        "sluice-bought-scout-p5-block"
    )
    other = service(fleet, "-scout-p5")
    assert other["CapacityProviderStrategy"][0]["CapacityProvider"] == "sluice-bought-scout-p5"
    assert in_block["LoadBalancers"] == other["LoadBalancers"]


def scheduled(found):
    return {
        one["ScheduledActionName"]: (
            one["Schedule"],
            one["ScalableTargetAction"]["MinCapacity"],
            one["ScalableTargetAction"]["MaxCapacity"],
        )
        for one in found.get("ScheduledActions", ())
    }


def test_a_block_s_replicas_come_with_it_and_go_40_minutes_before_its_end(made):
    found = target(made.fleet("scout-p5"), "scout-p5-block")
    assert (found["MinCapacity"], found["MaxCapacity"]) == (0, 0)
    assert scheduled(found) == {
        "Begins": ("at(2026-12-01T11:30:00)", 2, 2),
        "LetGo": ("at(2026-12-08T10:50:00)", 0, 0),
    }


def test_the_others_make_room_while_the_block_is_there(made):
    found = target(made.fleet("scout-p5"), "/sluice-bought-scout-p5")
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 4)
    assert scheduled(found) == {
        "InBlock": ("at(2026-12-01T11:45:00)", 0, 2),
        "AfterBlock": ("at(2026-12-08T10:35:00)", 1, 4),
    }


def test_a_fleet_in_a_block_alone_has_one_service_which_nothing_else_scales(made):
    fleet = made.fleet("scout-trn2")
    assert fleet.one("ECS::Service")["ServiceName"] == "sluice-bought-scout-trn2"
    assert not fleet.all("ApplicationAutoScaling::ScalingPolicy")
    found = fleet.one("ApplicationAutoScaling::ScalableTarget")
    assert scheduled(found)["Begins"] == ("at(2026-12-01T11:30:00)", 2, 2)


# -- two models on one machine ---------------------------------------------------------------------


def test_two_models_on_one_machine_share_its_gpus_and_have_each_their_port(made):
    fleet = made.fleet("g6e-1")
    left, right = engine(fleet, "left"), engine(fleet, "right")
    for container in (left, right):
        assert container["ResourceRequirements"] == [{"Type": "GPU", "Value": "4"}]
    ports = [one["PortMappings"][0]["HostPort"] for one in (left, right)]
    assert ports == [8000, 8001]
    assert sorted(one["Port"] for one in fleet.all("ElasticLoadBalancingV2::TargetGroup")) == ports
    memory = sum(one["MemoryReservation"] for one in (left, right))
    assert memory <= 1536 * 1024 * 0.8
    providers = [one["CapacityProviderStrategy"] for one in fleet.all("ECS::Service")]
    assert providers == [[{"CapacityProvider": "sluice-bought-g6e-1", "Weight": 1}]] * 2


def test_their_machine_has_the_weights_of_both(made):
    (template,) = made.machines("g6e-1", "EC2::LaunchTemplate")
    fetched = [line for line in boot(template).splitlines() if line.startswith("aws s3 sync")]
    left, right = weights_of("example-models/qwen3/"), weights_of("example-models/other/model/")
    assert [line.rsplit("/", 1)[1] for line in fetched] == [f"left-{left}", f"right-{right}"]


def test_a_shared_machine_s_tasks_have_its_address_and_others_their_own(made):
    shared, alone = made.fleet("g6e-1"), made.fleet("scout-p4d")
    assert {one["NetworkMode"] for one in shared.all("ECS::TaskDefinition")} == {"bridge"}
    assert not any("NetworkConfiguration" in one for one in shared.all("ECS::Service"))
    assert alone.one("ECS::TaskDefinition")["NetworkMode"] == "awsvpc"
    given = alone.one("ECS::Service")["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert given["AssignPublicIp"] == "DISABLED"


def test_neuron_chips_of_one_machine_are_no_two_fleets_own(made):
    fleet = made.fleet("inf2-1")
    first, second = (
        [device["HostPath"] for device in engine(fleet, name)["LinuxParameters"]["Devices"]]
        for name in ("first", "second")
    )
    assert first == [f"/dev/neuron{number}" for number in range(3)]
    assert second == [f"/dev/neuron{number}" for number in range(3, 9)]


# -- a CPU -----------------------------------------------------------------------------------------


def test_llama_cpp_on_graviton_runs_the_image_that_the_stage_builds(made):
    fleet = made.fleet("graviton")
    container = engine(fleet)
    told = {one["Name"]: one["Value"] for one in container["Environment"]}
    assert told["SLUICE_MODEL_DIR"] == "/models/graviton"
    assert told["SLUICE_THREADS"] == "4"
    assert "Command" not in container
    assert "ResourceRequirements" not in container
    assert "sluice-bought-Images" in json.dumps(container["Image"])
    health = fleet.one("ElasticLoadBalancingV2::TargetGroup")
    assert (health["HealthCheckPath"], health["Port"]) == ("/ping", 8080)
    (template,) = made.machines("graviton", "EC2::LaunchTemplate")
    image = plain(template["LaunchTemplateData"]["ImageId"])
    assert "amazonlinux2023arm64recommended" in image


# -- service and scaling ---------------------------------------------------------------------------


def test_services_follow_in_use_at_the_catalogue_s_bounds_and_share(made):
    fleet = made.fleet("scout-trn2", "lanes")
    found = fleet.one("ApplicationAutoScaling::ScalableTarget")
    assert found["ResourceId"] == "service/sluice-lanes/sluice-lanes-scout-trn2"
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 4)
    assert "RoleARN" not in found
    policy = fleet.one("ApplicationAutoScaling::ScalingPolicy")
    tracked = policy["TargetTrackingScalingPolicyConfiguration"]
    assert (tracked["TargetValue"], tracked["ScaleOutCooldown"], tracked["ScaleInCooldown"]) == (
        70,
        1800,
        3600,
    )
    metric = tracked["CustomizedMetricSpecification"]
    assert (metric["Namespace"], metric["MetricName"], metric["Unit"]) == (
        "Sluice",
        "InUse",
        "Percent",
    )
    dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
    assert dimensions == {"stage": "lanes", "fleet": "scout-trn2"}


def test_a_fleet_of_a_fixed_size_is_raised_to_it_and_follows_no_load(made):
    fleet = made.fleet("scout-p4d")
    found = fleet.one("ApplicationAutoScaling::ScalableTarget")
    assert (found["MinCapacity"], found["MaxCapacity"]) == (2, 2)
    assert not fleet.all("ApplicationAutoScaling::ScalingPolicy")


@pytest.mark.parametrize(
    ("stage", "host", "name"),
    [
        ("bought", "scout-p5", "sluice-bought-scout-p5"),
        ("bought", "scout-p5", "sluice-bought-scout-p5-block"),
        ("bought", "scout-trn2", "sluice-bought-scout-trn2"),  # in a block alone
        ("lanes", "scout-trn2", "sluice-lanes-scout-trn2"),  # one at the least
        ("lanes", "scout-inf2", "sluice-lanes-scout-inf2"),  # may be asleep
    ],
)
def test_no_template_says_how_many_tasks_are_wanted_each_asks_for_how_many_there_are(
    made, stage, host, name
):
    fleet = made.fleet(host, stage)
    counts = {
        logical: one["Properties"]
        for logical, one in fleet.resources.items()
        if one["Type"] == "Custom::SluiceCount"
    }
    (found,) = (one for one in fleet.all("ECS::Service") if one["ServiceName"] == name)
    logical, attribute = found["DesiredCount"]["Fn::GetAtt"]
    asks = counts[logical]
    assert (attribute, asks["Cluster"], asks["Service"]) == ("Count", f"sluice-{stage}", name)
    assert asks["Task"] == found["TaskDefinition"]  # another task: asked for anew
    assert len(asks["Of"]) == 16


def test_what_asks_for_the_counts_may_look_at_the_stage_s_services_alone(made):
    may = [
        (listed(one["Action"]), plain(one["Resource"]))
        for name, one in made.stack("lanes-Lanes").statements("IAM::Policy")
        if name.startswith("EcsCounts") and "ecs:" in json.dumps(one["Action"])
    ]
    ((actions, on),) = may
    assert actions == ["ecs:DescribeServices"]
    assert on.endswith("service/sluice-lanes/*")


def deployment(template):
    found = template.one("ECS::Service")["DeploymentConfiguration"]
    return found["MinimumHealthyPercent"], found["MaximumPercent"]


def test_a_replica_goes_before_its_successor_comes_and_of_several_half_of_them_stay(made):
    assert deployment(made.fleet("scout-inf2", "lanes")) == (0, 100)
    assert deployment(made.fleet("scout-p4d")) == (50, 100)  # two at the least
    for host in ("scout-p5", "scout-inf2"):
        found = made.fleet(host, "lanes").one("ECS::Service")
        assert found["DeploymentConfiguration"]["DeploymentCircuitBreaker"]["Enable"] is True
        assert found["AvailabilityZoneRebalancing"] == "DISABLED"
        assert found["EnableExecuteCommand"] is False
        assert found["PropagateTags"] == "SERVICE"


def going(fleet):
    attributes = {
        one["Key"]: one["Value"]
        for one in fleet.one("ElasticLoadBalancingV2::TargetGroup")["TargetGroupAttributes"]
    }
    delay = int(attributes["deregistration_delay.timeout_seconds"])
    return delay, engine(fleet)["StopTimeout"]


def test_a_task_that_goes_has_its_requests_deadline_and_on_spot_what_the_notice_leaves(made):
    assert going(made.fleet("scout-p4d")) == (DEADLINE_S, DEADLINE_S)
    assert going(made.fleet("scout-p5")) == (90, 90)
    assert "STOP_TIMEOUT" not in boot(made.machines("scout-p5", "EC2::LaunchTemplate")[0])


def test_no_stage_lets_a_task_go_in_less_than_two_minutes_or_asks_for_more_than_an_hour():
    stage = read.stages(EXAMPLE / "deploy.yaml")["lanes"]
    lane = next(lane for lane in stage.lanes if lane.fleet.id == "scout-p4d")
    for deadline_ms, seconds in ((1_000, 120), (299_500, 300), (7_200_000, 3600)):
        limits = replace(stage.policy.defaults.limits, deadline_ms=deadline_ms)
        defaults = replace(stage.policy.defaults, limits=limits)
        policy = replace(stage.policy, defaults=defaults)
        assert going_s(replace(stage, policy=policy), lane) == seconds


def test_a_replica_that_is_late_for_minutes_is_not_ended_for_it(made):
    health = made.fleet("scout-p5").one("ElasticLoadBalancingV2::TargetGroup")
    assert (health["HealthCheckIntervalSeconds"], health["UnhealthyThresholdCount"]) == (30, 10)


def test_neuron_has_the_time_to_compile_before_it_must_answer(made):
    grace = {
        host: made.fleet(host, "lanes").one("ECS::Service")["HealthCheckGracePeriodSeconds"]
        for host in ("scout-p5", "scout-inf2")
    }
    assert grace == {"scout-p5": 1800, "scout-inf2": 7200}


def test_a_task_may_pull_its_image_and_write_its_log_and_is_nobody_itself(made):
    fleet = made.fleet("scout-p5", "lanes")
    (policy,) = fleet.all("IAM::Policy")
    may = {
        action: [plain(on) for on in listed(one["Resource"])]
        for one in policy["PolicyDocument"]["Statement"]
        for action in listed(one["Action"])
    }
    (repository,) = may["ecr:BatchGetImage"]
    assert repository.endswith(":ecr:us-east-2:763104351884:repository/vllm")
    assert {action.split(":")[0] for action in may} == {"ecr", "logs"}
    log = fleet.one("Logs::LogGroup")
    assert (log["LogGroupName"], log["RetentionInDays"]) == ("/sluice/lanes/fleet/scout-p5", 30)


def test_everything_of_a_fleet_has_its_tag(made):
    for name in ("ECS::Service", "ECS::TaskDefinition", "ElasticLoadBalancingV2::TargetGroup"):
        (found,) = made.fleet("scout-p4d").all(name)
        assert {"Key": "sluice:fleet", "Value": "scout-p4d"} in found["Tags"]
    (group,) = made.machines("g6e-1", "AutoScaling::AutoScalingGroup")
    assert {"Key": "sluice:fleet", "PropagateAtLaunch": True, "Value": "left+right"} in (
        group["Tags"]
    )


# -- who reaches whom ------------------------------------------------------------------------------


def test_the_balancer_is_inside_speaks_tls_and_is_kept(made):
    lanes = made.stack("lanes-Lanes")
    balancer = lanes.one("ElasticLoadBalancingV2::LoadBalancer")
    assert balancer["Scheme"] == "internal"
    attributes = {one["Key"]: one["Value"] for one in balancer["LoadBalancerAttributes"]}
    assert attributes["idle_timeout.timeout_seconds"] == "900"
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["deletion_protection.enabled"] == "true"
    listener = lanes.one("ElasticLoadBalancingV2::Listener")
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    assert "TLS13" in listener["SslPolicy"]
    assert listener["Certificates"][0]["CertificateArn"].startswith("arn:aws:acm:us-east-2:")
    (action,) = listener["DefaultActions"]
    assert action["FixedResponseConfig"]["StatusCode"] == "404"
    assert json.loads(action["FixedResponseConfig"]["MessageBody"])["error"]["type"] == "not_found"


def test_a_fleet_is_found_by_its_name_inside_the_network(made):
    zone = made.stack("lanes-Lanes").one("Route53::HostedZone")
    assert zone["Name"] == "models.example.com."
    assert len(zone["VPCs"]) == 1
    fleet = made.fleet("scout-p5", "lanes")
    assert fleet.one("Route53::RecordSet")["Name"] == "scout-p5.models.example.com."
    (condition,) = fleet.one("ElasticLoadBalancingV2::ListenerRule")["Conditions"]
    assert condition["HostHeaderConfig"]["Values"] == ["scout-p5.models.example.com"]


def test_the_router_reaches_the_balancer_it_reaches_replicas_and_nobody_else_anybody(made):
    lanes = made.stack("bought-Lanes")
    into = {
        (plain(one["GroupId"]).split("GroupId")[0].split("Ecs")[-1][:8], one["FromPort"]): plain(
            one["SourceSecurityGroupId"]
        )
        for one in lanes.all("EC2::SecurityGroupIngress")
    }
    ports = sorted(port for _, port in into)
    assert ports == [443, 8000, 8000, 8001, 8080]
    assert all("CidrIp" not in one for one in lanes.all("EC2::SecurityGroupIngress"))
    assert not any(
        rule.get("CidrIp") == "0.0.0.0/0"
        for group in lanes.all("EC2::SecurityGroup")
        for rule in group.get("SecurityGroupEgress", ())
    )
    (callers,) = (source for (_, port), source in into.items() if port == 443)
    assert "NetworkCallers" in callers
    assert all("Balancer" in source for (_, port), source in into.items() if port != 443)


def test_a_rule_s_place_is_its_fleet_s_own_whoever_else_comes():
    few = priorities(["a", "c"])
    many = priorities(["a", "b", "c", "d"])
    assert {name: many[name] for name in few} == few
    assert len(set(many.values())) == 4
    assert all(1 <= place <= 50_000 for place in many.values())


def test_the_network_has_the_doors_that_machines_need(made):
    router = made.stack("lanes-Router")
    names = {
        plain(one["ServiceName"]).rpartition(".us-east-2.")[2]
        for one in router.all("EC2::VPCEndpoint")
        if one["VpcEndpointType"] == "Interface"
    }
    assert {"ecs", "ecs-agent", "ecs-telemetry", "ecr.api", "ecr.dkr", "logs"} <= names
