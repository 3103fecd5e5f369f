"""The lanes' example with its fleets on EKS: the five shapes of S2, and Graviton."""

import re
from pathlib import Path

from router.deploy.read import stages

LANES = Path(__file__).parents[1] / "infra" / "examples" / "lanes"
GRAVITON = """
  - id: qwen3-graviton
    model: qwen3-0.6b
    lane: cpu
    engine: llama.cpp
    kind: openai_http
    url: https://qwen3-graviton.models.example.com/v1
    instance: c8g.xlarge
    region: us-east-2
    usd_per_hour: 0.15952
    price_source: "S1: c8g.xlarge on demand, us-east-1"
    context_tokens: 8192
    replicas: {min: 1, max: 4, concurrency_each: 4, scale_out_at: 0.7}
    profile: c8g.xlarge/qwen3-0.6b
    runs: {on: eks, weights: "s3://example-models/qwen3-0.6b/model.gguf", quantisation: Q4_K_M}
"""


def files(folder, *changes):
    """Write the stage's files, with these (pattern, replacement) in fleets.yaml; return the
    deploy.yaml.
    """
    ids = ""
    for path in sorted(LANES.iterdir(), reverse=True):  # fleets.yaml before deploy.yaml
        text = path.read_text("utf-8")
        if path.name == "fleets.yaml":
            text = text.replace("runs: {on: ecs", "runs: {on: eks")
            text = re.sub(r"\n  - id: qwen3-graviton.*?\n(?=\n)", GRAVITON, text, flags=re.DOTALL)
            for old, new in changes:
                assert re.search(old, text), old
                text = re.sub(old, new, text)
            ids = ", ".join(re.findall(r"(?m)^  - id: (\S+)", text))
        if path.name == "deploy.yaml":
            text = re.sub(r"use: \[.*?\]", f"use: [{ids}]", text)
        folder.joinpath(path.name).write_text(text, "utf-8")
    return folder / "deploy.yaml"


def stage(folder, *changes):
    return stages(files(folder, *changes))["lanes"]
