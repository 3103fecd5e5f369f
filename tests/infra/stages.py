"""Stages as `deploy.yaml` makes them: dev is small, prod has all, steady runs on Fargate."""

from dataclasses import replace
from pathlib import Path

from backends import files
from policies.parse import parse
from router.deploy.stage import Compute, Domain, Stage
from router.sources import names_of

FLEETS = """\
version: 1
fleets:
  - id: qwen3-graviton
    model: qwen3-0.6b
    lane: cpu
    engine: llama.cpp
    kind: sagemaker
    endpoint: Qwen3-Graviton
    region: us-east-1
    instance: c8g.xlarge
    profile: c8g.xlarge/qwen3-0.6b
    replicas: {min: 1, max: 4, concurrency_each: 4}
  - id: scout-sagemaker
    model: llama-4-scout
    lane: accelerator
    engine: vllm
    kind: sagemaker
    endpoint: scout
    inference_component: scout-main
    protocol: invoke_endpoint
    region: us-east-1
    instance: p5.4xlarge
    replicas: {min: 1, max: 2, concurrency_each: 32}
  - id: scout-vllm
    model: llama-4-scout
    lane: accelerator
    engine: vllm
    kind: openai_http
    url: http://vllm.fleets.internal:8000/v1
    api_key: ${secret:sluice/vllm-key}
    region: us-east-1
    instance: p5.48xlarge
    replicas: {min: 1, max: 2, concurrency_each: 64}
  - id: elsewhere
    model: llama-4-scout
    lane: accelerator
    engine: vllm
    kind: openai_http
    url: http://other.internal:8000/v1
    region: us-east-1
    instance: p5.48xlarge
    replicas: {min: 1, max: 2, concurrency_each: 64}
models:
  - {id: qwen3-0.6b, context_tokens: 32768, abilities: [json, tools], quality: qwen3-0.6b}
  - {id: llama-4-scout, context_tokens: 131072, abilities: [json, tools]}
"""
POLICY = """\
version: 1
name: test
baseline: llama-4-scout@scout-vllm
rules:
  - {id: all, use: [cpu, accelerator]}
"""
ACCOUNT = "123456789012"


def stages(folder: Path, region="us-east-1") -> dict[str, Stage]:
    fleets, written = folder / "fleets.yaml", folder / "policy.yaml"
    fleets.write_text(FLEETS, "utf-8")
    written.write_text(POLICY, "utf-8")
    catalogue = files.catalogue(fleets, folder)
    policy = parse(POLICY, str(written), names_of(catalogue))
    used = tuple(fleet for fleet in catalogue.fleets if fleet.id != "elsewhere")
    dev = Stage(
        name="dev",
        account=ACCOUNT,
        region=region,
        partition="aws",
        size="small",
        catalogue=replace(catalogue, fleets=used),
        fleets_file=fleets,
        policy=policy,
        policy_file=written,
        cases=None,
        auth=("keys",),
        auth_config=None,
        domain=None,
        private=False,
        alarm_email=None,
        usd_per_month=None,
        compute=Compute(memory_mb=512),
    )
    arn = f"arn:aws:acm:{region}:{ACCOUNT}:certificate/0f7a3c52-0000-4000-8000-000000000000"
    domain = Domain("llm.example.com", arn, "Z0123456789ABCDEFGHIJ")
    prod = replace(
        dev,
        name="prod",
        size="prod",
        auth=("iam",),
        domain=domain,
        alarm_email="ops@example.com",
        usd_per_month=500,
        compute=Compute(memory_mb=1024, provisioned=1),
    )
    steady = replace(
        prod,
        name="steady",
        auth=("keys",),
        compute=Compute(on="fargate", memory_mb=2048),
    )
    return {stage.name: stage for stage in (dev, prod, steady)}
