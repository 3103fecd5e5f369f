"""Stages with fleets on ECS: the example's (`lanes`), and one that is bought in every way."""

import shutil

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks
from stages import ROOT

from infra import app, lanes
from infra.lanes.making import Making
from infra.network import Network
from infra.stacks import Zoned
from router.deploy import read

EXAMPLE = ROOT / "infra" / "examples" / "lanes"
BLOCK = (
    "{option: capacity_block, replicas: 2, reservation: cr-0123456789abcdef0, "
    'from: "2026-12-01T11:30:00Z", until: "2026-12-08T11:30:00Z"}'
)
FLEET = """
  - id: {id}
    model: {model}
    lane: {lane}
    engine: {engine}
    kind: openai_http
    url: https://{id}.models.example.com/v1
    instance: {instance}
    region: us-east-2
    context_tokens: 8192
    purchase: [{purchase}]
    replicas: {{min: {least}, max: {most}, concurrency_each: 4, scale_out_at: 0.7}}
    wake: {{seconds: 900, min_run_seconds: 3600}}
    fallback_usd_per_mtok: 0.5
    runs: {{on: ecs, weights: "s3://example-models/{weights}"}}{more}
"""
USUAL = {
    "model": "qwen3-0.6b",
    "lane": "accelerator",
    "engine": "vllm",
    "weights": "qwen3/",
    "purchase": "{option: on_demand}",
    "least": 0,
    "most": 2,
    "more": "",
}
HALF_G6E = {"instance": "g6e.48xlarge", "more": "\n    host: g6e-1\n    host_share: 0.5"}
QUARTER_INF2 = {
    "instance": "inf2.48xlarge",
    "engine": "vllm-neuron",
    "more": "\n    host: inf2-1\n    host_share: 0.25",
}
SCOUT = {"model": "llama-4-scout", "weights": "llama-4-scout/"}
FLEETS = {
    # Two in a block, one by the hour, the rest on Spot.
    "scout-p5": {
        **SCOUT,
        "instance": "p5.48xlarge",
        "least": 1,
        "most": 4,
        "purchase": f"{BLOCK}, {{option: on_demand, replicas: 1}}, {{option: spot}}",
    },
    "scout-trn2": {
        **SCOUT,
        "instance": "trn2.48xlarge",
        "engine": "vllm-neuron",
        "purchase": BLOCK,
    },
    "scout-p4d": {
        **SCOUT,
        "instance": "p4d.24xlarge",
        "least": 2,
        "purchase": "{option: reserved, replicas: 1, reservation: cr-00000000000000001}, "
        "{option: on_demand}",
    },
    "left": HALF_G6E,
    "right": {**HALF_G6E, "weights": "other/model/"},
    "first": {**QUARTER_INF2, "lane": "batch"},  # the example's policy has a rule for it
    "second": {**QUARTER_INF2, "more": QUARTER_INF2["more"].replace("0.25", "0.5")},
    "graviton": {
        "instance": "c8g.xlarge",
        "engine": "llama.cpp",
        "lane": "cpu",
        "weights": "qwen3/qwen3-0.6b-q4_k_m.gguf",
        "least": 1,
        "most": 4,
    },
}


def written(folder, fleets):
    """Write a deploy.yaml for these fleets and return the stage that it says."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    catalogue = (folder / "fleets.yaml").read_text("utf-8")
    head = catalogue[: catalogue.index("fleets:\n") + len("fleets:\n")]
    rows = (FLEET.format(id=name, **{**USUAL, **given}) for name, given in fleets.items())
    (folder / "fleets.yaml").write_text(head + "".join(rows), "utf-8")
    deploy = (folder / "deploy.yaml").read_text("utf-8")
    used = deploy[deploy.index("use: [") : deploy.index("]", deploy.index("use: [")) + 1]
    deploy = deploy.replace(used, f"use: [{', '.join(fleets)}]")
    deploy = deploy.replace("  lanes:\n    account", "  bought:\n    account")
    (folder / "deploy.yaml").write_text(deploy, "utf-8")
    policy = (folder / "policy.yaml").read_text("utf-8")
    (folder / "policy.yaml").write_text(policy.replace("use: batch\n", "use: cpu\n"), "utf-8")
    return read.stages(folder / "deploy.yaml")["bought"]


def add(made, stage):
    """Add the network and the fleets on ECS of a stage, without all else that it has."""

    def stack(name, said):
        return Zoned(
            made,
            f"{stage.prefix}-{name}",
            description=said,
            env=cdk.Environment(account=stage.account, region=stage.region),
            tags={"sluice:stage": stage.name},
        )

    network = Network(stack("Router", "the network"), "Network", stage=stage)
    on_ecs = [lane for lane in stage.lanes if lane.on == "ecs"]
    lanes.MAKERS["ecs"](Making(stack, stage, on_ecs, network, ROOT, None, None))


def synthesise(out, *stages):
    made = cdk.App(context=dict(app.context()), outdir=str(out))
    cdk.Validations.of(made).add_plugins(AwsSolutionsChecks(made))
    for stage in stages:
        add(made, stage)
    made.synth()
