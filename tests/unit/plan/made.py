"""Small traces, catalogues and problems for the tests of plans."""

from array import array

from backends import files, parse
from backends.parse import Source
from policies.model import Facts
from router.plan.capacity import Mode
from router.plan.demand import Hour, RequestClass
from router.plan.offers import Market, Offer, Unit
from router.plan.problem import Problem
from router.traces.trace import Trace


def facts(tier="simple", task="classification", service_class="standard"):
    return Facts(
        "", "shop", None, "k", {}, task, tier, 0.0, 0.0, "en", 0, 0, service_class=service_class
    )


def trace(at_s, tokens=(200, 50), kinds=None, kind=None, p_small=0.95, start_s=0.0):
    """Return a trace with arrivals at these seconds; `tokens` of all, or a list for each."""
    n = len(at_s)
    lengths = [tokens] * n if isinstance(tokens, tuple) else tokens
    outs = [out for _, out in lengths]
    return Trace(
        "made",
        start_s,
        array("d", at_s),
        array("l", [ins for ins, _ in lengths]),
        array("l", outs),
        array("l", outs),
        array("d", [0.1] * n),
        array("d", [p_small] * n),
        array("b", [-1] * n),
        array("l", kind or [0] * n),
        tuple(kinds or [facts()]),
    )


PRICES = """
version: 1
currency: USD
prices:
""" + "".join(
    f"  - {{instance: a1, region: r1, purchase: {option}, usd_per_hour: {usd}, "
    "as_of: 2026-01-01, source: s, mark: stated}\n"
    for option, usd in (("on_demand", 10), ("reserved", 6), ("spot", 3))
)
FLEET = """
  - {{id: {id}, model: m, lane: big, engine: vllm, kind: openai_http, url: "http://127.0.0.1:9/v1",
     instance: {instance}, region: r1, replicas: {{min: {least}, max: {most}, concurrency_each: 8}},
     wake: {{seconds: 600, min_run_seconds: 600}}, profile: p5.48xlarge/llama-4-scout{more}}}
"""
MODELS = """
version: 1
models:
  - {id: m, context_tokens: 100000, abilities: [json], languages: [en], quality: llama-4-scout}
fleets:
"""


def fleet(name, instance="a1", least=0, most=3, more=""):
    return FLEET.format(id=name, instance=instance, least=least, most=most, more=more)


def catalogue(tmp_path, *rows):
    (tmp_path / "prices.yaml").write_text(PRICES, "utf-8")
    shelf = files.library(tmp_path)
    return parse.catalogue(
        Source("fleets.yaml", MODELS + "".join(rows)), shelf, files.router("local")
    )


def requests(name, fleets, *, tokens=(200, 50), count=100):
    ins, outs = tokens
    return RequestClass(name, 0, frozenset(fleets), ins, outs, ins, outs, count)


POOL = "plan"


def unit(name, usd, *, least=0, most=3, ahead=None, spot=None, start_s=0.0, plan_usd=None):
    """`plan_usd`: per machine in the savings plan of `POOL`, which exists."""
    offers = (Offer("on_demand", usd),)
    if spot is not None:
        offers = (*offers, Offer("spot", spot))
    if ahead is not None:
        offers = (Offer("reserved", ahead), *offers)
    pools = () if plan_usd is None else (POOL,)
    return Unit(name, (name,), offers, least, most, start_s, plan_usd=plan_usd, pools=pools)


def made_problem(
    units, classes, rates, busy_s, carried, *, fill=1.0, weights=None, level_of=None, pools=()
):
    """`rates`: of each level, of each class; `busy_s`: of each unit and class, None: not there;
    `carried`: of each unit for 1, 2, ... replicas. `weights`: of each level, in hours.
    """
    modes = {}
    for one in units:
        able = [i for i, each in enumerate(busy_s[one.id]) if each is not None]
        taken = tuple(busy_s[one.id][i] for i in able)
        ways = (Mode(1.0, tuple(able), taken, tuple(carried[one.id])),) if able else ()
        modes[one.id] = ways
    weights = weights or [1.0] * len(rates)
    hours = tuple(
        Hour(tuple(each), 1.0, weight, i * 3600.0)
        for i, (each, weight) in enumerate(zip(rates, weights, strict=True))
    )
    level_of = level_of or tuple(range(len(hours)))
    sold = Market(tuple(units), (), tuple(pools))
    return Problem(tuple(classes), hours, level_of, 1.0, sold, modes, fill)
