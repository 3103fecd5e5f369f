"""Worlds and traces for the tests of replays, built in memory."""

import json
from array import array
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import resources

from backends import files, parse
from backends.parse import Source
from policies.model import Facts
from policies.parse import parse as parse_policy
from router.sources import names_of
from router.traces.trace import Trace
from router.world import world

START_S = 1_795_255_200.0  # 2026-11-21T10:00:00Z

# A box of `c` places on which a stream is as fast among others as alone, and a prompt takes no time
# to speak of: what queueing theory knows.
STEADY = """
version: 1
profiles:
  - {{id: box/steady, model: m, instance: box, source: a test, mark: stated,
     tokens_in: 1, ttft_ms: 0.001,
     points: [{{concurrency: 1, tok_s: 100, itl_ms: 10}},
              {{concurrency: {c}, tok_s: {tok_s}, itl_ms: 10}}]}}
"""
ODD = """
version: 1
profiles:
  - {id: box/blind, model: m, instance: box, source: a test, mark: stated,
     points: [{concurrency: 1, tok_s: 50}, {concurrency: 8, tok_s: 200}]}
  - {id: box/mixed, model: m, instance: box, source: a test, mark: measured,
     points: [{concurrency: 4, mix_tok_s: 40, tokens_in: 200,
               tokens_out: 100, itl_ms: 20, ttft_ms: {p50: 300, p95: 500}},
              {concurrency: 4, mix_tok_s: 25, tokens_in: 800,
               tokens_out: 100, itl_ms: 21, ttft_ms: {p50: 900, p95: 1500}},
              {concurrency: 4, mix_tok_s: 31, tokens_in: 400,
               tokens_out: 300, itl_ms: 22, ttft_ms: {p50: 600, p95: 800}}]}
"""
URL = "http://127.0.0.1:9/v1"


def box(fleet_id, **more):
    """Return a fleet on a box of a dollar an hour, as a line of a catalogue."""
    known = {
        "id": fleet_id,
        "model": "m",
        "lane": "cpu",
        "engine": "llama.cpp",
        "kind": "openai_http",
        "url": URL,
        "instance": "box",
        "region": "here",
        "usd_per_hour": 1,
        "profile": "c8g.xlarge/qwen3-0.6b",
        "replicas": {"min": 1, "max": 4, "concurrency_each": 4},
        "wake": {"seconds": 60, "min_run_seconds": 600},
    }
    row = {name: value for name, value in {**known, **more}.items() if value is not None}
    return f"  - {json.dumps(row)}\n"


def catalogue_of(*boxes):
    return f"""
version: 1
models:
  - {{id: m, context_tokens: 4096, abilities: [json], quality: qwen3-0.6b}}
  - {{id: big, context_tokens: 100000, abilities: [json, tools], quality: llama-4-scout}}
  - {{id: none, context_tokens: 8192}}
fleets:
{"".join(boxes)}"""


def hosted(fleet_id, **more):
    """Return a fleet that is no machine of ours."""
    nothing = dict.fromkeys(("usd_per_hour", "profile", "wake"))
    lane = {"model": "big", "lane": "accelerator", "instance": "none"}
    replicas = {"min": 1, "max": 1, "concurrency_each": 1000}
    return box(fleet_id, **{**nothing, **lane, "replicas": replicas, **more})


def strong(fleet_id, **more):
    lane = {"model": "big", "lane": "accelerator", "region": "there"}
    return box(fleet_id, **{**lane, **more})


FLEETS = catalogue_of(
    box("a"),
    box("a2"),
    box("a-cold", replicas={"min": 0, "max": 2, "concurrency_each": 4}),
    box("blind", profile="box/blind", replicas={"min": 0, "max": 1, "concurrency_each": 8}),
    strong("mixed", profile="box/mixed"),
    strong(
        "p5",
        usd_per_hour=90,
        profile="p5.48xlarge/llama-4-scout",
        replicas={"min": 1, "max": 2, "concurrency_each": 64},
    ),
    hosted("api", fallback_usd_per_mtok=2.0),
    hosted("unpriced", model="none", profile="c8g.xlarge/qwen3-0.6b"),
)
POLICIES = (
    """
version: 1
name: in-order
baseline: big@p5
defaults: {minimize: marginal_cost, quality_floor: 0.85, relax: [slo.ttft, slo.e2e, quality_floor]}
rules:
  - {id: short, when: {tokens_in: {below: 300}, tier: simple},
     use: {in_order: [cpu, accelerator]}, quality_floor: 0}
  - {id: night, when: {local_time: {from: "22:00", to: "06:00", tz: Asia/Shanghai}},
     use: accelerator}
  - {id: all, use: {in_order: [[a, mixed], [cpu, accelerator]]}}
""",
    """
version: 1
name: by-average
baseline: big@p5
defaults: {minimize: average_cost, quality_floor: 0.5, slo: {ttft_p95_ms: 3000, e2e_p95_ms: 30000}}
rules:
  - {id: hard, when: {complexity: {above: 0.6}}, use: accelerator, minimize: e2e, strict: true}
  - {id: soft, when: {complexity: {above: 0.3}}, use: [cpu, accelerator], minimize: ttft}
  - {id: all, use: [cpu, accelerator], residency: here}
""",
    """
version: 1
name: no-limits
baseline: big@p5
defaults: {quality_floor: 0, slo: {ttft_p95_ms: null, e2e_p95_ms: null}, max_output_tokens: 128}
rules:
  - {id: all, use: [cpu, accelerator]}
""",
    """
version: 1
name: strict
baseline: big@p5
defaults: {quality_floor: 0, strict: true, slo: {ttft_p95_ms: null, e2e_p95_ms: null}}
rules:
  - {id: all, use: [unpriced, mixed, blind, a-cold, a]}
""",
)


@cache
def shelf(*more):
    folder = resources.files("backends").joinpath("data", "profiles")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return parse.library(
        [
            *(files.packaged("backends", "data", "profiles", name) for name in names),
            *(Source(f"more-{n}.yaml", text) for n, text in enumerate(more)),
        ],
        files.packaged("backends", "data", "quality.yaml"),
        files.packaged("backends", "data", "prices.yaml"),
        None,
    )


def world_of(policy, fleets=FLEETS, profiles=(ODD,), place="local"):
    """Return the world of this policy over these fleets, both as text."""
    catalogue = parse.catalogue(
        Source("fleets.yaml", fleets), shelf(*profiles), files.router(place)
    )
    return world(parse_policy(policy, "policy.yaml", names_of(catalogue)), catalogue)


def kind(**more):
    known = {
        "at": "",
        "tenant": "shop",
        "team": "search",
        "key": "k",
        "tags": {},
        "task": "classification",
        "tier": "simple",
        "complexity": 0.0,
        "p_small": 0.0,
        "language": "en",
        "tokens_in": 0,
        "tokens_out": 0,
    }
    return Facts(**{**known, **more})


def trace_of(rows, kinds=None, start_s=START_S):
    """Return a trace of (at_s, tokens_in, tokens_out) rows; more columns by name as a fourth."""
    columns = {name: array(code) for name, code in _COLUMNS.items()}
    for at_s, tokens_in, tokens_out, *more in rows:
        row = {
            "at_s": at_s,
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "expected": tokens_out,
            "complexity": 0.2,
            "p_small": 0.9,
            "acceptable": 1,
            "kind": 0,
            **(more[0] if more else {}),
        }
        for name, column in columns.items():
            column.append(row[name])
    return Trace("a test's", start_s, kinds=kinds or (kind(),), **columns)


_COLUMNS = {
    "at_s": "d",
    "tokens_in": "l",
    "tokens_out": "l",
    "expected": "l",
    "complexity": "d",
    "p_small": "d",
    "acceptable": "b",
    "kind": "l",
}


def frozen(found):
    """Return all of a replay as bytes, so that equal is equal for what is no number too."""
    if isinstance(found, array):
        return found.tobytes()
    if is_dataclass(found):
        return repr([frozen(getattr(found, each.name)) for each in fields(found)]).encode()
    return repr([frozen(each) for each in found] if isinstance(found, tuple) else found).encode()
