"""The manifests of fleets on EKS: what they say, and that the cluster's controllers take it."""

import copy
import dataclasses
import itertools
import json
from ipaddress import ip_address, ip_network

import on_eks
import pytest
import schemas
import yaml

from backends.tariff import Tranche
from router.cli.manifests import programs
from router.deploy import engine_start
from router.deploy.kubernetes import manifests, nodes, pods, scaling
from router.deploy.kubernetes.manifests import Told
from router.deploy.lane import Unmade

ARN = "arn:aws:elasticloadbalancing:us-east-2:111122223333:targetgroup"
STORED = ("qwen3-graviton", "scout-trn2", "scout-inf2", "scout-inf2-spot")
BLOCK = """purchase:
      - option: capacity_block
        replicas: 1
        reservation: cr-0123456789abcdef0
        from: "2026-12-01T11:30:00Z"
        until: "2026-12-08T11:30:00Z"
      - {option: spot}
    context_tokens: 65536"""


def told(stage):
    at = "111122223333.dkr.ecr.us-east-2.amazonaws.com/sluice-lanes"
    targets = {lane.fleet.id: f"{ARN}/{lane.name}/0123456789abcdef" for lane in stage.lanes}
    return Told(targets, {fleet: f"{at}/{fleet}:1" for fleet in STORED})


def of(stage):
    return manifests.manifests(stage, programs(), told(stage))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return on_eks.stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="module")
def made(stage):
    return of(stage)


@pytest.fixture(scope="module")
def everything(made):
    return [each for objects in made.values() for each in objects]


def one(objects, kind):
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def fleet(made, name):
    return made[f"fleet-{name}.yaml"]


def pod(made, name):
    return one(fleet(made, name), "Deployment")["spec"]["template"]["spec"]


def engine(made, name):
    (found,) = pod(made, name)["containers"]
    return found


def requirements(pool):
    rows = pool["spec"]["template"]["spec"]["requirements"]
    return {row["key"]: row["values"] for row in rows}


# -- by their schemas ------------------------------------------------------------------------------


def test_every_object_is_one_that_its_controller_takes(everything):
    wrong = zip(everything, schemas.faults(everything), strict=True)
    assert [(each["kind"], said) for each, said in wrong if said] == []


MUTANTS = [
    ("Namespace", ("metadata", "labels", "sluice/fleet"), 1),
    ("ServiceAccount", ("automountServiceAccountToken",), "no"),
    ("ConfigMap", ("data", "fetch.py"), 1),
    ("ConfigMap", ("dta",), {}),
    ("Service", ("spec", "ports", 0, "port"), "http"),
    ("Service", ("spec", "selectors"), {}),
    ("Deployment", ("spec", "template", "spec", "containers", 0, "arguments"), []),
    ("Deployment", ("spec", "template", "spec", "containers", 0, "startupProbe", "period"), 1),
    ("Deployment", ("spec", "template", "spec", "volumes", 0, "emptyDir"), []),
    ("Deployment", ("spec", "selector"), None),
    ("PodDisruptionBudget", ("spec", "minAvailableReplicas"), 1),
    ("NetworkPolicy", ("spec", "ingress", 0, "form"), []),
    ("NodePool", ("spec", "limits", "cpu"), []),
    ("NodePool", ("spec", "disruption", "consolidateAfter"), "an hour"),
    ("NodePool", ("spec", "disruption", "consolidationPolicy"), "WhenUnderutilized"),
    ("NodePool", ("spec", "template", "spec", "expiresAfter"), "1h"),
    ("NodePool", ("spec", "template", "spec", "nodeClassRef", "group"), None),
    ("NodeClass", ("spec", "role"), None),
    ("NodeClass", ("spec", "amiFamily"), "AL2023"),
    ("NodeClass", ("spec", "ephemeralStorage", "size"), "324"),
    ("NodeClass", ("spec", "tags", "karpenter.sh/nodepool"), "x"),
    ("ScaledObject", ("spec", "minReplicas"), 1),
    ("ScaledObject", ("spec", "maxReplicaCount"), "2"),
    ("ScaledObject", ("spec", "triggers", 0, "metadata", "targetValue"), 22.4),
    ("ScaledObject", ("spec", "triggers"), None),
    ("ClusterTriggerAuthentication", ("spec", "podIdentity", "providers"), "aws"),
    ("TargetGroupBinding", ("spec", "targetType"), None),
    ("TargetGroupBinding", ("spec", "targetGroupARN"), "scout-p5"),
    ("TargetGroupBinding", ("spec", "targetGroupName"), "scout-p5"),
]


def test_a_manifest_that_is_wrong_in_one_place_is_found(everything):
    mutants = []
    for kind, path, value in MUTANTS:
        mutant = copy.deepcopy(next(each for each in everything if each["kind"] == kind))
        at = mutant
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        if value is None:
            del at[path[-1]]
        mutants.append(mutant)
    found = schemas.faults(mutants)
    missed = [each for each, said in zip(MUTANTS, found, strict=True) if not said]
    assert missed == []


def test_no_kind_goes_without_a_mutant(everything):
    assert {kind for kind, _, _ in MUTANTS} == {each["kind"] for each in everything}


# -- what they say ---------------------------------------------------------------------------------


def test_each_shape_has_its_machine_its_accelerators_and_its_launch_settings(made, stage):
    shapes = {
        "qwen3-graviton": ("c8g.xlarge", "arm64", {}),
        "scout-p5": ("p5.48xlarge", "amd64", {"nvidia.com/gpu": "8"}),
        "scout-p4d": ("p4d.24xlarge", "amd64", {"nvidia.com/gpu": "8"}),
        "scout-g6e": ("g6e.48xlarge", "amd64", {"nvidia.com/gpu": "8"}),
        "scout-trn2": ("trn2.48xlarge", "amd64", {"aws.amazon.com/neuron": "16"}),
        "scout-inf2": ("inf2.48xlarge", "amd64", {"aws.amazon.com/neuron": "12"}),
        "scout-inf2-spot": ("inf2.48xlarge", "amd64", {"aws.amazon.com/neuron": "12"}),
    }
    assert set(shapes) == {lane.name for lane in stage.lanes}
    for lane in stage.lanes:
        instance, arch, counted = shapes[lane.name]
        asked = requirements(one(made[f"nodes-{lane.name}.yaml"], "NodePool"))
        assert asked["node.kubernetes.io/instance-type"] == [instance]
        assert asked["kubernetes.io/arch"] == [arch]
        container = engine(made, lane.name)
        assert container["resources"].get("limits", {}) == counted
        assert container.get("args", []) == list(engine_start.command(lane))
        told = {row["name"]: row["value"] for row in container.get("env", ())}
        assert told == dict(engine_start.environment(lane))
    assert "--tensor-parallel-size" in engine(made, "scout-p5")["args"]
    assert engine(made, "qwen3-graviton")["env"]


def test_pods_go_to_their_fleet_s_machines_alone_and_others_stay_off_them(made, stage):
    for lane in stage.lanes:
        pool = one(made[f"nodes-{lane.host}.yaml"], "NodePool")["spec"]["template"]
        (taint,), found = pool["spec"]["taints"], pod(made, lane.name)
        (tolerated,) = found["tolerations"]
        assert (tolerated["key"], tolerated["value"]) == (taint["key"], taint["value"])
        assert found["nodeSelector"]["sluice/host"] == pool["metadata"]["labels"]["sluice/host"]


def test_no_more_machines_are_started_than_the_catalogue_s_most(made, stage):
    for lane in stage.lanes:
        pool = one(made[f"nodes-{lane.host}.yaml"], "NodePool")
        most = lane.fleet.replicas.max * lane.fit.instance.vcpu
        assert pool["spec"]["limits"] == {"cpu": str(most)}


def test_a_machine_goes_when_it_is_empty_and_not_before_its_least_time(made):
    gone = one(made["nodes-scout-p5.yaml"], "NodePool")["spec"]["disruption"]
    assert (gone["consolidationPolicy"], gone["consolidateAfter"]) == ("WhenEmpty", "3600s")


def test_a_machine_goes_for_its_age_as_seldom_as_auto_mode_lets_it(made, stage):
    for lane in stage.lanes:
        pool = one(made[f"nodes-{lane.host}.yaml"], "NodePool")["spec"]["template"]["spec"]
        assert 20 * 24 <= int(pool["expireAfter"].removesuffix("h")) < 21 * 24


def test_scaling_has_the_catalogue_s_numbers(made, stage):
    for lane in stage.lanes:
        replicas, spec = lane.fleet.replicas, one(fleet(made, lane.name), "ScaledObject")["spec"]
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (replicas.min, replicas.max)
        running, waiting, wake = spec["triggers"]
        for trigger in (running, waiting):
            wanted = replicas.concurrency_each * replicas.scale_out_at
            assert float(trigger["metadata"]["targetValue"]) == pytest.approx(wanted)
            assert trigger["metadata"]["aggregationType"] == "sum"
            assert f":{lane.port}/metrics" in trigger["metadata"]["url"]
        values = json.loads(wake["metadata"]["expressionAttributeValues"])
        assert values == {":pk": {"S": "WAKE"}, ":sk": {"S": lane.fleet.id}}
        assert wake["metadata"]["tableName"] == "sluice-lanes"
    calm = one(fleet(made, "scout-p5"), "ScaledObject")["spec"]["cooldownPeriod"]
    assert calm == 3600


def test_a_fleet_has_its_namespace_for_keda_counts_all_that_a_namespace_has(made, stage):
    spaces = [one(fleet(made, lane.name), "Namespace")["metadata"]["name"] for lane in stage.lanes]
    assert len(set(spaces)) == len(stage.lanes)
    for lane, space in zip(stage.lanes, spaces, strict=True):
        inside = [each["metadata"].get("namespace") for each in fleet(made, lane.name)]
        assert set(inside) == {None, space}


def test_an_apply_says_nothing_of_how_many_and_the_first_creation_says_none(made, stage):
    for lane in stage.lanes:
        assert "replicas" not in one(fleet(made, lane.name), "Deployment")["spec"]
        begun = made[f"once/fleet-{lane.name}.yaml"]
        assert one(begun, "Deployment")["spec"]["replicas"] == 0
        same = one(fleet(made, lane.name), "Deployment")["spec"]["selector"]
        assert one(begun, "Deployment")["spec"]["selector"] == same  # it can't be changed


def test_a_pod_that_goes_serves_what_it_has(made, stage):
    drain = stage.policy.defaults.limits.deadline_ms // 1000
    for lane in stage.lanes:
        assert engine(made, lane.name)["lifecycle"]["preStop"] == {"sleep": {"seconds": drain}}
        assert pod(made, lane.name)["terminationGracePeriodSeconds"] > drain


def test_neuron_compiles_offline_for_as_long_as_it_takes_where_a_new_container_finds_it(made):
    container = engine(made, "scout-trn2")
    assert container["args"][:3] == ["vllm", "serve", "/models/scout-trn2"]
    told = {row["name"]: row["value"] for row in container["env"]}
    assert int(told["VLLM_ENGINE_READY_TIMEOUT_S"]) >= 7200
    assert (told["NEURON_SKIP_EFA_AFFINITY"], told["HF_HUB_OFFLINE"]) == ("1", "1")
    mounts = {row["mountPath"]: row["name"] for row in container["volumeMounts"]}
    volumes = {row["name"]: row for row in pod(made, "scout-trn2")["volumes"]}
    for name in (
        *("NEURON_COMPILE_CACHE_URL", "NEURON_COMPILED_ARTIFACTS", "VLLM_CACHE_ROOT"),
        "TORCH_NEURONX_NEFF_CACHE_DIR",
    ):
        at = next(path for path in mounts if told[name].startswith(f"{path}/"))
        assert volumes[mounts[at]] == {"name": mounts[at], "emptyDir": {}}


def test_what_neuron_traced_is_kept_where_its_image_can(made):
    for name, kept in (("scout-trn2", "neuron_native"), ("scout-inf2", None)):
        told = {row["name"]: row["value"] for row in engine(made, name)["env"]}
        assert told.get("VLLM_NEURON_BACKEND") == kept


def test_keda_keeps_the_pod_of_a_fleet_that_still_compiles_when_its_wake_item_is_gone(stage):
    (trn2,) = (lane for lane in stage.lanes if lane.name == "scout-trn2")
    short = dataclasses.replace(trn2.fleet, wake_seconds=60, min_run_seconds=60)
    lane = dataclasses.replace(trn2, fleet=short)
    cooldown = scaling.scaled(stage, lane)["spec"]["cooldownPeriod"]
    assert 60 + 60 + cooldown >= engine_start.starting_s(lane)
    for lane in stage.lanes:  # those whose wake time is honest pay for no more than their least run
        within = scaling.min_run_seconds(lane) + scaling.wake_seconds(lane)
        if within + scaling.min_run_seconds(lane) >= engine_start.starting_s(lane):
            assert scaling.cooldown_s(lane) == scaling.min_run_seconds(lane)


def test_a_pod_may_start_for_as_long_as_its_engine_may_take(made, stage):
    for lane in stage.lanes:
        probe = engine(made, lane.name)["startupProbe"]
        assert probe["httpGet"] == {"path": lane.health, "port": lane.port}
        within = probe["periodSeconds"] * probe["failureThreshold"]
        assert within >= engine_start.starting_s(lane)
        assert one(fleet(made, lane.name), "Deployment")["spec"]["progressDeadlineSeconds"] > within


def test_ten_seconds_of_lateness_take_no_replica_out(made, stage):
    for lane in stage.lanes:
        probe = engine(made, lane.name)["readinessProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 30


def test_pods_are_nobody_to_kubernetes_and_have_no_right_that_they_don_t_need(made, stage):
    for lane in stage.lanes:
        found = pod(made, lane.name)
        assert found["automountServiceAccountToken"] is False
        for container in (*found["containers"], *found["initContainers"]):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def policies(made, lane):
    found = fleet(made, lane.name)
    return [each["spec"] for each in found if each["kind"] == "NetworkPolicy"]


def entries(rules):
    """Return the ports of each range, as AWS's agent keeps them (aws-network-policy-agent,
    pkg/fwruleprocessor): a rule without addresses is for all of them, a range has the ports of
    those around it that don't except it, and an exception is a range without ports.
    """
    found, excepted = {}, {}
    for rule in rules:
        ports = {(one["protocol"], one["port"]) for one in rule["ports"]}
        for peer in rule.get("from", rule.get("to", [{"ipBlock": {"cidr": "0.0.0.0/0"}}])):
            if block := peer.get("ipBlock"):
                within = ip_network(block["cidr"])
                found[within] = found.get(within, set()) | ports
                excepted.setdefault(within, set()).update(map(ip_network, block.get("except", ())))
    for within in sorted(found, key=lambda one: one.prefixlen):
        for around in found.keys() - {within}:
            excepted_here = any(within.subnet_of(one) for one in excepted[around])
            if within.subnet_of(around) and not excepted_here:
                found[within] = found[within] | found[around]
    denied = {one: set() for each in excepted.values() for one in each}
    return {**denied, **found}


def lets_in(rules, address, port, protocol="TCP"):
    """Tell what AWS's agent does: the narrowest range decides alone."""
    found = entries(rules)
    around = [one for one in found if ip_address(address) in one]
    narrowest = max(around, key=lambda one: one.prefixlen, default=None)
    return (protocol, port) in found.get(narrowest, ())


def test_a_pod_of_the_network_is_no_caller_of_an_engine_and_the_balancer_is(made, stage):
    for lane in stage.lanes:
        (spec,) = (each for each in policies(made, lane) if each["podSelector"])
        assert lets_in(spec["ingress"], "10.0.16.7", lane.port)
        assert lets_in(spec["ingress"], "10.0.23.254", lane.port)
        for address in ("10.0.0.9", "10.0.7.254", "10.0.8.1", "172.20.0.10", "192.0.2.1"):
            assert not lets_in(spec["ingress"], address, lane.port), address
        assert not lets_in(spec["ingress"], "10.0.16.7", 22)
        (keda,) = (peer for peer in spec["ingress"][0]["from"] if "ipBlock" not in peer)
        assert keda["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "keda"}
        assert keda["podSelector"]["matchLabels"] == {"app": "keda-operator"}


def test_an_engine_reaches_s3_s_addresses_names_and_who_it_is_and_nothing_of_the_network(
    made, stage
):
    for lane in stage.lanes:
        (spec,) = (each for each in policies(made, lane) if each["podSelector"])
        may = {
            "52.219.0.1": {("TCP", 443)},
            "172.20.0.10": {("TCP", 53), ("UDP", 53)},
            "169.254.170.23": {("TCP", 80)},
        }
        inside = ("10.0.0.2", "10.0.0.9", "172.20.0.1", "172.20.0.11", "169.254.169.254")
        for address in (*may, *inside):
            tried = itertools.product(("TCP", "UDP"), (53, 80, 443, lane.port))
            let = {one for one in tried if lets_in(spec["egress"], address, one[1], one[0])}
            assert let == may.get(address, set()), address


def test_names_are_asked_at_the_tenth_address_of_the_cluster_s_services():
    assert pods.NAMES == "172.20.0.10/32"


def test_whatever_else_stands_in_a_fleet_s_namespace_is_cut_off(made, stage):
    for lane in stage.lanes:
        (spec,) = (each for each in policies(made, lane) if not each["podSelector"])
        assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_policies_are_turned_on_in_the_cluster_and_on_every_machine(made, everything):
    (told,) = (each for each in made["cluster.yaml"] if each["kind"] == "ConfigMap")
    assert told["metadata"] == {"name": "amazon-vpc-cni", "namespace": "kube-system"}
    assert told["data"] == {"enable-network-policy-controller": "true"}
    classes = [each["spec"] for each in everything if each["kind"] == "NodeClass"]
    assert {each["networkPolicy"] for each in classes} == {"DefaultAllow"}


def test_an_engine_reads_what_was_fetched_for_it(made, stage):
    for lane in stage.lanes:
        found = pod(made, lane.name)
        (fetcher,), (served,) = found["initContainers"], found["containers"]
        assert fetcher["image"] == served["image"]
        *_, bucket, prefix, folder = fetcher["command"]
        assert (bucket, prefix) == (lane.bucket, lane.prefix)
        assert {"name": "model", "mountPath": folder, "readOnly": True} in served["volumeMounts"]
    assert engine(made, "scout-p5")["args"][1] == "/models/scout-p5"


def test_tranches_become_pools_in_the_catalogue_s_order(tmp_path):
    change = (r"(?s)(id: scout-p5.*?)usd_per_hour: 98.32.*?context_tokens: 65536", rf"\1{BLOCK}")
    found = of(on_eks.stage(tmp_path, change))["nodes-scout-p5.yaml"]
    block, spot = (each for each in found if each["kind"] == "NodePool")
    assert requirements(block)["karpenter.sh/capacity-type"] == ["reserved"]
    assert requirements(spot)["karpenter.sh/capacity-type"] == ["spot"]
    assert block["spec"]["weight"] > spot["spec"]["weight"]
    assert block["spec"]["limits"] == {"cpu": "192"}
    reserved, open_ = (each["spec"] for each in found if each["kind"] == "NodeClass")
    assert reserved["capacityReservationSelectorTerms"] == [{"id": "cr-0123456789abcdef0"}]
    assert "capacityReservationSelectorTerms" not in open_
    assert [said for said in schemas.faults(found) if said] == []


def test_two_fleets_of_a_host_have_a_deployment_each_and_their_share_of_its_devices(tmp_path):
    half = r"(?s)(id: scout-g6e\n.*?)context_tokens: 16384(.*?concurrency_each: )64(.*?)runs:"
    shared = r"\1context_tokens: 8192\g<2>16\g<3>host: g6e-1\n    host_share: 0.5\n    runs:"
    first = (half, shared)
    stage = on_eks.stage(tmp_path, first, (r"\Z", SECOND))
    found = of(stage)
    assert one(found["nodes-g6e-1.yaml"], "NodePool")["spec"]["limits"] == {"cpu": "384"}
    for name in ("scout-g6e", "second-g6e"):
        assert engine(found, name)["resources"]["limits"] == {"nvidia.com/gpu": "4"}
        assert pod(found, name)["nodeSelector"]["sluice/host"] == "g6e-1"
        assert int(engine(found, name)["resources"]["requests"]["cpu"]) <= 96


SECOND = """
  - id: second-g6e
    model: llama-4-scout
    lane: accelerator
    engine: vllm
    kind: openai_http
    url: https://second-g6e.models.example.com/v1
    instance: g6e.48xlarge
    region: us-east-2
    usd_per_hour: 54.91
    price_source: test
    context_tokens: 8192
    replicas: {min: 0, max: 2, concurrency_each: 16, scale_out_at: 0.7}
    wake: {seconds: 900, min_run_seconds: 3600}
    profile: g6e.48xlarge/llama-4-scout
    host: g6e-1
    host_share: 0.5
    runs: {on: eks, weights: "s3://example-models/llama-4-scout/"}
"""


def test_the_files_are_the_same_bytes_each_time_and_what_they_were_made_of(made, stage):
    texts = {name: manifests.text(objects) for name, objects in made.items()}
    assert texts == {name: manifests.text(objects) for name, objects in of(stage).items()}
    for name, text in texts.items():
        assert list(yaml.safe_load_all(text)) == made[name]


def test_a_fleet_without_a_known_target_group_is_bound_to_none(stage):
    known = Told({}, told(stage).images)
    found = manifests.manifests(stage, programs(), known)
    kinds = {each["kind"] for objects in found.values() for each in objects}
    assert "TargetGroupBinding" not in kinds


def test_chips_are_shared_whole(stage):
    (inf2,) = (lane for lane in stage.lanes if lane.name == "scout-inf2")
    third = dataclasses.replace(inf2, share=0.3333)
    assert pods.devices(third) == {"aws.amazon.com/neuron": "4"}


def test_a_capacity_block_without_its_id_is_refused(stage):
    (p5,) = (lane for lane in stage.lanes if lane.name == "scout-p5")
    bought = (Tranche("capacity_block", 1, None),)
    lane = dataclasses.replace(p5, fleet=dataclasses.replace(p5.fleet, tranches=bought))
    with pytest.raises(Unmade, match="reservation"):
        list(nodes.nodes(stage, [lane]))


def test_all_engines_say_how_many_requests_they_have(stage):
    assert {lane.family for lane in stage.lanes} == set(scaling.REQUESTS)
