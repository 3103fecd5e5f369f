"""The documentation, run: its YAML is read, its tables are compared with the code's, its worked
numbers are computed again, its links lead somewhere.

Conventions: a ```yaml block names its form (FORMS); what a table lists stands in backticks in its
first column; a worked number is a row of a table whose first header is `#`, with a calculation in
backticks and a result, and has an entry in WORKED; a table whose first header is `fleet` holds
figures of the embedded fleets.
"""

import ast
import itertools
import math
import operator
import os
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import orjson
import pytest
import yaml

import yamlfile
from backends import cost, files, forms, parse, parse_prices, parse_sagemaker
from backends.base import BackendError
from backends.commitments import Usage, cover
from backends.fleet_model import prepare
from backends.load import Load
from backends.points import Point
from backends.prices import Pool, Price
from backends.profiles import Mark, Profile
from backends.quality import quality
from policies.acceptance import ACCEPTANCE
from policies.case_form import CASE_FILE
from policies.case_names import Known
from policies.cases import EXPECTATIONS, read_cases, run_cases
from policies.compiled import settings_json
from policies.conditions import CONDITIONS
from policies.evaluate import CLOSED, Refused, Verdict, evaluate
from policies.model import Facts, Limits, Settings
from policies.odd import KINDS
from policies.parse import parse as parse_policy
from policies.proof import enough, z_of
from policies.schema import schema
from router import feedback, refusals, wire
from router.app import ROUTES
from router.auth import config as auth_config
from router.auth.rules import ALGORITHMS, LEEWAY_S
from router.batches.api import BATCH_FIELDS
from router.batches.api import ROUTES as batch_routes  # noqa: N811  (two tables of this name)
from router.batches.port import Status as BatchStatus
from router.batches.validate import FIELDS as LINE_FIELDS
from router.candidate_decision import OUTCOMES
from router.case_judge import case_judge
from router.classify import judge_by
from router.cli.cited import SOURCES
from router.cli.fleet import COMMANDS as fleet_commands  # noqa: N811  (two tables of this name)
from router.cli.keys import COMMANDS as key_commands  # noqa: N811  (two tables of this name)
from router.cli.keys import list_ as key_list
from router.cli.ledger import COMMANDS as ledger_commands  # noqa: N811  (as above)
from router.cli.main import COMMANDS as commands  # noqa: N811  (two tables of this name)
from router.cli.policy import COMMANDS as policy_commands  # noqa: N811  (as above)
from router.decide import Decision, decide
from router.estimate import estimate
from router.facts import facts_of
from router.features import read
from router.flow import NotAccepted
from router.identity import NOBODY, RIGHTS, Key
from router.key_rows import Stored
from router.meter import Meter
from router.metrics import Metrics
from router.receipt import Outcome, receipt
from router.requested import AUTO
from router.runtime import Runtime, generation
from router.sources import Sources, names_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
AT = "2026-01-05T12:00:00.000Z"


# -- reading a page --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block; `form` is the word after its language, `after` the text that follows it."""

    page: Path
    line: int
    language: str
    form: str
    text: str
    after: str

    def __str__(self):
        return f"{self.page.name}:{self.line}"


FENCE = re.compile(r"^```(\w*) *([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    text = page.read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, m.start()) + 1, m[1], m[2].strip(), m[3], text[m.end() :])
        for m in FENCE.finditer(text)
    ]


def tables(page):
    """Return the tables of a page: rows of cells, the header first."""
    found, rows = [], []
    for line in [*FENCE.sub("", page.read_text("utf-8")).splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif rows:
            found.append([rows[0], *rows[2:]])
            rows = []
    return found


def table(page, *header):
    """Return the one table whose header begins so, without the header."""
    found = [t for t in tables(DOCS / page) if tuple(t[0][: len(header)]) == header]
    assert len(found) == 1, f"{page}: {len(found)} tables begin with {header}"
    return found[0][1:]


def codes(cell):
    return re.findall(r"`([^`]+)`", cell)


def listed(rows):
    """Return all that stands in backticks in the first column, each of it once."""
    found = [code for row in rows for code in codes(row[0])]
    assert len(found) == len(set(found)), f"twice in one table: {found}"
    return set(found)


def pages():
    for folder, names, found in os.walk(ROOT):
        names[:] = [name for name in names if not name.startswith(".")]
        yield from (Path(folder, name) for name in found if name.endswith(".md"))


PAGES = sorted(pages())
BLOCKS = [
    block
    for page in PAGES
    if page.parent == DOCS or page == ROOT / "README.md"
    for block in blocks(page)
]


# -- links -----------------------------------------------------------------------------------------

LINK = re.compile(r"\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:")


def links():
    for page in PAGES:
        text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text("utf-8")))
        for link in LINK.findall(text):
            if not ELSEWHERE.match(link):
                yield page, link.partition("#")[0]


def test_every_relative_link_leads_to_a_file():
    found = list(links())
    assert len(found) > 20, "the links are not found any more"
    broken = [f"{p.relative_to(ROOT)}: {x}" for p, x in found if x and not (p.parent / x).exists()]
    assert broken == []


def test_every_page_of_the_reference_is_linked_from_another():
    linked = {(page.parent / link).resolve() for page, link in links()}
    assert [page.name for page in sorted(DOCS.glob("*.md")) if page.resolve() not in linked] == []


# -- yaml blocks -----------------------------------------------------------------------------------


def library(page):
    """Return the packaged profiles and those that the page writes out."""
    folder = Path(str(files.resources.files("backends"))) / "data" / "profiles"
    own = [parse.Source(str(b), b.text) for b in blocks(page) if b.form == "profiles"]
    packaged = [files.on_disk(path) for path in sorted(folder.glob("*.yaml"))]
    rest = (files.packaged("backends", "data", f"{name}.yaml") for name in ("quality", "prices"))
    return parse.library([*packaged, *own], *rest)


def catalogue_for(block):
    """Return the catalogue that stands nearest above the block on its page, or the embedded one."""
    above = [b for b in blocks(block.page) if b.form == "catalogue" and b.line < block.line]
    if not above:
        return files.catalogue(None)
    return parse.catalogue(parse.Source(str(above[-1]), above[-1].text), library(block.page))


def reads_as_a_catalogue(block):
    found = parse.catalogue(parse.Source(str(block), block.text), library(block.page))
    assert found.fleets
    assert found.fleets[0].id in block.text


def reads_as_profiles(block):
    ids = {row["id"] for row in yaml.safe_load(block.text)["profiles"]}
    assert ids <= set(library(block.page).profiles)


def reads_as_prices(block):
    assert parse_prices.read(block.text, str(block)).rows


def reads_as_a_policy(block):
    assert parse_policy(block.text, str(block), names_of(catalogue_for(block))).rules


def is_refused_with_the_text_below_it(block):
    below = FENCE.search(block.after)
    assert below, "a refused block is followed by what is said of it"
    assert below[1] == "text"
    with pytest.raises(yamlfile.Invalid) as refused:
        parse_policy(block.text, "prod.yaml", names_of(catalogue_for(block)))
    assert str(refused.value).splitlines() == below[3].splitlines()


def passes_on_the_default_policy(block):
    world = embedded_world()
    cases = read_cases(
        block.text, str(block), case_judge(), Known(world.policy, names_of(world.catalogue))
    )
    results = run_cases(
        world.policy, cases, lambda facts: estimate(world, facts, idle(world), 4096)
    )
    assert cases
    assert [failure for result in results for failure in result.failures] == []


def reads_as_an_auth_config(block):
    found = auth_config.parse(block.text, str(block), names_of(catalogue_for(block)))
    assert found.jwt
    assert found.iam


FORMS = {
    "auth": reads_as_an_auth_config,
    "catalogue": reads_as_a_catalogue,
    "profiles": reads_as_profiles,
    "prices": reads_as_prices,
    "policy": reads_as_a_policy,
    "refused": is_refused_with_the_text_below_it,
    "cases": passes_on_the_default_policy,
}
YAML = [block for block in BLOCKS if block.language in {"yaml", "yml"}]


def test_every_yaml_block_says_what_it_is():
    assert [str(b) for b in YAML if b.form not in FORMS] == [], f"write ```yaml {'|'.join(FORMS)}"
    assert {block.form for block in YAML} == set(FORMS)


@pytest.mark.parametrize("block", [b for b in YAML if b.form in FORMS], ids=str)
def test_a_yaml_block_is_what_it_says(block):
    FORMS[block.form](block)


def embedded_world():
    return Sources(Path("no state")).load()


def idle(world):
    return [Load(committed=on.fleet.replicas.min) for on in world.fleets]


# -- docs/fleets.md --------------------------------------------------------------------------------

FLEET = forms.FLEETS["properties"]["fleets"]["items"]
MODEL = forms.FLEETS["properties"]["models"]["items"]
PROFILE = forms.PROFILES["properties"]["profiles"]["items"]


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("key", FLEET),
        ("key of `replicas`", FLEET["properties"]["replicas"]),
        ("key of a model", MODEL),
        ("key of a profile", PROFILE),
        ("key of a point", PROFILE["properties"]["points"]["items"]),
    ],
)
def test_the_keys_of_the_catalogue_are_those_that_it_reads(header, form):
    rows = table("fleets.md", header)
    assert listed(rows) == set(form["properties"])
    required = {code for row in rows if row[2] == "required" for code in codes(row[0])}
    assert required == set(form.get("required", ()))


def test_the_defaults_of_replicas_are_those_of_the_code():
    text = (
        "version: 1\nmodels: [{id: m, context_tokens: 10}]\nfleets:\n  - {id: f, model: m, lane: l,"
        " engine: vllm, kind: openai_http, url: 'http://h/v1', instance: i, region: r,"
        " replicas: {concurrency_each: 1}}\n"
    )
    (fleet,) = parse.catalogue(parse.Source("f", text), library(DOCS / "fleets.md")).fleets
    shown = {codes(row[0])[0]: row[2] for row in table("fleets.md", "key of `replicas`")}
    assert float(shown["min"]) == fleet.replicas.min
    assert float(shown["scale_out_at"]) == fleet.replicas.scale_out_at
    by_key = {codes(row[0])[0]: row[2] for row in table("fleets.md", "key")}
    assert codes(by_key["purchase"]) == [fleet.purchase]


def test_the_kinds_engines_and_abilities_are_those_of_the_code():
    assert listed(table("fleets.md", "kind")) == set(forms.KINDS)
    types = {codes(row[0])[0]: row[1] for row in table("fleets.md", "key")}
    assert set(codes(types["engine"])) == set(forms.ENGINES)
    sagemaker = table("fleets.md", "key of `sagemaker`")
    assert listed(sagemaker) == {*parse_sagemaker.OWN, "url", "urls"}
    (protocol,) = [row for row in sagemaker if codes(row[0]) == ["protocol"]]
    assert codes(protocol[1]) == forms.PROTOCOLS
    types = {codes(row[0])[0]: row[1] for row in table("fleets.md", "key of a model")}
    assert set(codes(types["abilities"])) == set(forms.ABILITIES)
    types = {codes(row[0])[0]: row[1] for row in table("fleets.md", "key of a profile")}
    assert set(codes(types["mark"])) == set(get_args(Mark))


def test_the_quality_tables_are_those_that_ship():
    (row,) = [r for r in table("fleets.md", "key of a model") if codes(r[0]) == ["quality"]]
    assert set(codes(row[3])) == set(library(DOCS / "fleets.md").quality)


# -- docs/policies.md ------------------------------------------------------------------------------


def names_of_fields(kind):
    return {field.name for field in fields(kind)}


def test_the_keys_of_a_policy_are_those_of_its_schema():
    form = schema()["properties"]
    assert listed(table("policies.md", "key")) == set(form)
    canary = form["canary"]["properties"]
    assert listed(table("policies.md", "key of `canary`")) == set(canary)
    settings = table("policies.md", "setting")
    assert listed(settings) == names_of_fields(Settings)
    rule = listed(table("policies.md", "key of a rule"))
    assert rule | listed(settings) >= set(form["rules"]["items"]["properties"])
    assert rule <= set(form["rules"]["items"]["properties"])
    assert listed(table("policies.md", "key of `limits`")) == names_of_fields(Limits)


def test_the_defaults_of_the_settings_are_those_of_the_code():
    defaults = settings_json(Settings())
    flat = {**defaults, **defaults["limits"]}
    rows = [*table("policies.md", "setting"), *table("policies.md", "key of `limits`")]
    shown = {}
    for row in rows:
        default = row[2] if len(row) == 4 else row[1]
        if codes(default) == [default.strip("`")]:
            shown[codes(row[0])[0]] = yaml.safe_load(default.strip("`"))
    assert set(flat) - set(shown) == {"limits", "thinking"}
    assert {key: flat[key] for key in shown} == shown


def test_the_labels_that_prove_a_floor_are_as_many_as_shown():
    for share, *needed in table("policies.md", "share acceptable"):
        parts = [enough(float(share.split()[0]) / 100, 0.85, z_of(sure)) for sure in (0.95, 0.99)]
        assert [str(part or "none do") for part in parts] == needed


def test_the_conditions_are_those_of_the_table():
    rows = table("policies.md", "condition")
    assert listed(rows) == set(CONDITIONS)
    for name, form, _ in rows:
        (first, *_) = codes(name)
        written = CONDITIONS[first].schema.get("anyOf", [{}])[0].get("enum")
        if written is not None:
            assert set(codes(form)) == set(written), first


def test_the_tests_of_a_cascade_are_those_of_the_table():
    assert listed(table("policies.md", "test of `accept_if`")) == set(ACCEPTANCE)


def test_the_warnings_of_policy_check_are_those_of_the_table():
    assert listed(table("policies.md", "warning")) == set(KINDS)


def test_the_keys_of_a_case_are_those_of_its_form():
    form = CASE_FILE["properties"]["cases"]["items"]["properties"]
    assert listed(table("policies.md", "key of a case")) == set(form)
    assert listed(table("policies.md", "key of `expect`")) == set(EXPECTATIONS)
    assert set(form["expect"]["properties"]) == set(EXPECTATIONS)


def test_the_pins_and_rights_are_those_of_the_code():
    rows = table("policies.md", "`model` in the request")
    assert {code for code in listed(rows) if code.startswith("auto")} == set(AUTO)
    assert {code for row in rows for code in codes(row[2])} == set(RIGHTS)


def refusal_codes():
    """Return the codes of all reasons, (code, detail), that functions of `evaluate` write out."""
    found = set(CLOSED.values())
    tree = ast.parse(Path(evaluate.__code__.co_filename).read_text("utf-8"))
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for node in ast.walk(function):
            match node:
                case ast.Tuple(elts=[ast.Constant(value=str(code)), _]):
                    found.add(code)
    return found


def test_the_codes_of_refused_fleets_are_those_of_the_code():
    assert listed(table("policies.md", "code")) == refusal_codes()


def decided(text, *, model="auto"):
    world = embedded_world()
    body = orjson.dumps({"model": model, "messages": [{"role": "user", "content": text}]})
    request = wire.parse_chat(body)
    reading = read(request.body)
    judged = judge_by()(reading)
    facts = facts_of(request, reading.features, judged, NOBODY, wire.NO_HINTS, AT)
    return world, decide(world, facts, idle(world))


@pytest.mark.parametrize("row", table("policies.md", "request"), ids=lambda row: row[0][:20])
def test_the_requests_shown_are_judged_and_sent_as_shown(row):
    text, task, tier, rule, lane = row
    _, decision = decided(text)
    facts, verdict = decision.facts, decision.verdict
    assert [facts.task, facts.tier, verdict.rule.id] == [task, tier, rule]
    assert verdict.ranked[0].lane == lane


def test_the_requests_shown_are_english_and_chinese_in_both_scripts():
    languages = {decided(row[0])[1].facts.language for row in table("policies.md", "request")}
    assert languages == {"en", "zh-Hans", "zh-Hant"}


# -- docs/api.md -----------------------------------------------------------------------------------


def router_trees(*, but="nothing"):
    paths = sorted((ROOT / "router").rglob("*.py"))
    return [ast.parse(path.read_text("utf-8")) for path in paths if path.parent.name != but]


def headers_written_in(*trees):
    texts = {
        node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    }
    return {text for text in texts if re.fullmatch(r"x-sluice-[a-z][a-z-]*", text)}


def errors_of_the_code():
    """Return every (status, code) that a refusal of the router carries."""
    found, computed = set(), 0
    for tree in router_trees(but="ledger"):  # what a store calls a refusal is no answer
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="Refusal" | "envelope"), args=[status, *rest]):
                    named = [word.value for word in node.keywords if word.arg == "code"]
                    code = named[0] if named else rest[1] if len(rest) > 1 else None
                    if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                        found.add((status.value, code.value))
                    else:
                        computed += 1
    assert computed == 2, "refusals.no_candidate and errors.Refusal.body; tell this test of others"
    return found | errors_of_verdicts()


def errors_of_verdicts():
    found, asked = set(), SimpleNamespace(max_tokens=None)
    codes_of_fleets = sorted(refusal_codes() - {"no_rule"})
    for size in (0, 1, 2):
        for chosen in itertools.combinations(codes_of_fleets, size):
            refused = tuple(Refused(SimpleNamespace(fleet="f"), code, "") for code in chosen)
            rule = SimpleNamespace(id="r")
            verdict = Verdict(rule, "marginal_cost", (), refused)
            refusal = refusals.no_candidate(Decision(asked, verdict, (), None), None)
            found.add((refusal.status, refusal.code))
    return found


def test_the_endpoints_are_those_of_the_app():
    rows = table("api.md", "path")
    shown = {code: row[1] for row in rows for code in codes(row[0])}
    assert shown == {path: method for path, (method, _) in ROUTES.items()}


def test_the_paths_of_files_and_batches_are_those_of_the_code():
    for row in table("api.md", "files and batches"):
        (path,) = codes(row[0])
        found = [takes for form, takes in batch_routes if form.fullmatch(path)]
        assert [row[1].split()] == [list(takes) for takes in found], path
    assert len(table("api.md", "files and batches")) == len(batch_routes)


def test_the_keys_of_batches_and_of_their_lines_are_those_of_the_code():
    assert listed(table("api.md", "a line of the input file")) == set(LINE_FIELDS)
    assert listed(table("api.md", "key of a batch")) == set(BATCH_FIELDS)
    assert listed(table("api.md", "status of a batch")) == set(get_args(BatchStatus))


def test_the_headers_are_those_of_the_code():
    asked = headers_written_in(ast.parse(Path(wire.__file__).read_text("utf-8")))
    asked.add("x-sluice-key")
    (requests, answers) = [t[1:] for t in tables(DOCS / "api.md") if t[0][0] == "header"]
    assert {h for h in listed(requests) if h.startswith("x-sluice-")} == asked
    written = headers_written_in(*router_trees())
    assert asked <= written
    assert {h for h in listed(answers) if h.startswith("x-sluice-")} == written - asked


def test_the_edits_are_those_of_the_table():
    assert listed(table("api.md", "edit")) == set(wire.EDITS)


def test_the_errors_are_those_of_the_code():
    rows = table("api.md", "status", "code")
    shown = [(int(row[0]), *codes(row[1])) for row in rows]
    assert shown == sorted(set(shown), key=shown.index), "twice"
    assert set(shown) == errors_of_the_code()


def test_the_keys_of_a_feedback_are_those_that_it_reads():
    rows = table("api.md", "key of a feedback")
    assert listed(rows) == set(feedback.FIELDS)
    required = {code for row in rows if row[2].startswith("required") for code in codes(row[0])}
    assert required == {name for name, (_, _, needed) in feedback.FIELDS.items() if needed}


def test_the_outcomes_of_attempts_are_the_errors_of_the_backends():
    known = {kind.code: kind.try_elsewhere for kind in BackendError.__subclasses__()}
    rows = table("api.md", "outcome of an attempt")
    ours = {"ok", "client_closed", "shutdown", "bug", "passed_over", "hedged_out", NotAccepted.code}
    assert listed(rows) == set(known) | ours
    shown = {code: row[2] == "yes" for row in rows for code in codes(row[0]) if code in known}
    assert shown == known


def metered():
    """Return a receipt of one answered request, and its meter."""
    world, decision = decided("hi")
    runtime = Runtime(generation(world, {}), Metrics(), None, lambda: 0.0, {})
    meter = Meter(runtime, runtime.generation, decision)
    meter.answered(meter.begin(decision.plan.attempts[0]))
    line = receipt("req", world, decision, Outcome((), meter.attempts, {}, meter.charge()))
    return orjson.loads(line)


def test_the_fields_of_a_receipt_are_those_that_are_written():
    whole = metered()
    rows = table("api.md", "field")
    assert listed(rows) == set(whole)
    means = {code: codes(row[1]) for row in rows for code in codes(row[0])}
    assert set(means["attempts"]) == set(whole["attempts"][0])
    assert {name for name in means["charge"] if name != "{}"} == set(whole["charge"])
    assert listed(table("api.md", "fact")) == set(whole["facts"]) == names_of_fields(Facts)
    assert listed(table("api.md", "of a candidate")) == set(whole["candidates"][0])
    (load, *_) = whole["load"].values()
    assert listed(table("api.md", "of a fleet's load")) == set(load)


def test_the_outcomes_of_a_candidate_are_those_that_are_told():
    shown = listed(table("policies.md", "`outcome` of a candidate"))
    assert shown == set(OUTCOMES)


def test_the_metrics_are_those_that_are_served():
    text = Metrics().text().decode()
    served = re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)
    served = {name for name in served if not name.endswith("_created")}
    shown = re.findall(r"`(sluice_\w+)`", (DOCS / "api.md").read_text("utf-8"))
    assert set(shown) == served


# -- docs/auth.md ----------------------------------------------------------------------------------

JWT = auth_config.SCHEMA["properties"]["jwt"]
PRINCIPAL = auth_config.SCHEMA["properties"]["iam"]["properties"]["principals"]["items"]


def test_the_keys_of_the_auth_config_are_those_that_it_reads():
    rows = table("auth.md", "key of `jwt`")
    assert listed(rows) == set(JWT["properties"])
    assert {c for row in rows if row[1] == "required" for c in codes(row[0])} == set(
        JWT["required"]
    )
    callers = listed(table("auth.md", "key of a caller"))
    assert callers | {"arn"} == set(PRINCIPAL["properties"])
    assert callers - {"admin"} == set(JWT["properties"]["give"]["properties"])
    by_key = {codes(row[0])[0]: row for row in rows}
    assert codes(by_key["algorithms"][1]) == list(ALGORITHMS)
    assert float(by_key["leeway_s"][1]) == LEEWAY_S
    claims = {code for code in codes(by_key["claims"][2]) if "," not in code}
    assert claims == set(JWT["properties"]["claims"]["properties"])


# -- docs/commands.md ------------------------------------------------------------------------------


def test_the_commands_with_exit_codes_are_those_that_exist():
    shown = listed(table("commands.md", "command"))
    groups = {"policy": set(policy_commands), "keys": set(key_commands)}
    groups |= {"fleet": set(fleet_commands), "ledger": set(ledger_commands)}
    exist = {name for name in commands if name not in groups}
    exist |= {f"{group} {name}" for group, names in groups.items() for name in names}
    assert {name.removesuffix(" refresh") for name in shown} == exist


def test_the_fields_of_a_listed_key_are_those_that_are_printed():
    stored = Stored(Key("0123abcd", "t"), b"", "2026-01-01T00:00:00.000Z", None, None, None, None)
    shown = listed(table("commands.md", "field of `keys list --json`"))
    assert shown == set(key_list.row_of(stored, "2026-01-01T00:00:00.000Z"))


def test_the_sources_are_those_that_the_command_line_spells_out():
    shown = {row[0]: row[1] for row in table("commands.md", "name", "source")}
    assert shown.keys() == SOURCES.keys()
    for name, source in shown.items():
        assert SOURCES[name].startswith(source)


# -- docs/cost-model.md ----------------------------------------------------------------------------

LIBRARY = files.library()
MODELS = {fleet.id: prepare(fleet) for fleet in files.catalogue(None).fleets}
C8G, P5, TRN2 = MODELS["local-qwen3-tiny"], MODELS["p5-scout"], MODELS["trn2-scout"]


def mixed():
    """Return a fleet known by two mixes; at $3,600/h a second costs a dollar."""
    points = (
        Point(4, None, None, 200, 100, mix_tok_s=40),
        Point(4, None, None, 800, 100, mix_tok_s=25),
    )
    profile = Profile("box/m", "m", "box", "measured", "here", None, points)
    price = Price(3600, "2025-01-01", "here", "stated")
    return prepare(replace(C8G.fleet, profile=profile, price=price))


MIXED = mixed()


def per_mtok(on, streams):
    return cost.usd_per_mtok_out(on.usd_per_hour, on.fleet.profile.speed(streams).tok_s)


def c8g_seconds():
    speed = C8G.fleet.profile.speed(1)
    return cost.box_seconds(200, 200, C8G.input_weight, speed.tok_s)


def c8g_usd():
    return C8G.predict(200, 200, 1, Load()).usd_average


def marginal(in_flight):
    load = Load(in_flight=in_flight, committed=TRN2.fleet.replicas.min)
    return TRN2.predict(1000, 500, 1, load).usd_marginal


def maverick(task):
    tables_of = LIBRARY.quality
    ours, theirs = tables_of["llama-4-maverick"], tables_of["llama-4-scout"]
    worth, assumed = quality(ours, theirs, task, 0.5, 0.5, in_baseline_lane=True)
    assert not assumed
    return worth


def prior(task, complexity):
    table = LIBRARY.quality["qwen3-0.6b-prior"]
    worth, assumed = quality(table, None, task, complexity, 0.9, in_baseline_lane=False)
    assert assumed
    return worth


COVERED = cover(
    [Usage("first", "c8g.x", "r", 1, 10.0, 5.0), Usage("second", "c7g.x", "r", 1, 10.0, 9.0)],
    [Pool("plan", 9.5, ("c7g", "c8g"), ())],
)


def seen(on, tokens_in, in_flight, tokens_out=200):
    return on.predict(tokens_in, tokens_out, 1, Load(in_flight=in_flight))


WORKED = {
    "A1": lambda: C8G.input_weight,
    "A2": c8g_seconds,
    "A3": c8g_usd,
    "A4": lambda: per_mtok(C8G, 1),
    "A5": lambda: per_mtok(P5, 1),
    "A6": lambda: per_mtok(P5, P5.fleet.profile.points[0].concurrency),
    "A7": lambda: per_mtok(P5, P5.capacity),
    "A8": lambda: cost.requests_per_hour_at_break_even(P5.usd_per_hour, c8g_usd()),
    "A9": lambda: P5.usd_per_hour / C8G.usd_per_hour,
    "B1": lambda: C8G.card.nano_per_mtok_out,
    "B2": lambda: C8G.card.nano_per_mtok_in,
    "B3": lambda: C8G.card.charge_nano(25, 24, 2),
    "B4": lambda: P5.card.charge_nano(25, 24, 2),
    "C1": lambda: marginal(10**6),
    "C2": lambda: marginal(392),
    "C3": lambda: marginal(588),
    "C4": lambda: marginal(784),
    "P1": lambda: COVERED.replicas["first"],
    "P2": lambda: COVERED.replicas["second"],
    "P3": lambda: COVERED.usd_per_hour,
    "D1": lambda: seen(C8G, 200, 0).e2e_p50_ms,
    "D2": lambda: seen(C8G, 200, 3).e2e_p50_ms,
    "D3": lambda: seen(C8G, 200, 8).ttft_p50_ms,
    "D4": lambda: P5.fleet.profile.speed(268.8).itl_ms,
    "D5": lambda: P5.fleet.profile.prefill_ms(512) * P5.fleet.profile.speed(268.8).slowdown,
    "D6": lambda: seen(P5, 2048, 0).ttft_p50_ms,
    "M1": lambda: MIXED.input_weight,
    "M2": lambda: MIXED.fleet.profile.speed(4).tok_s,
    "M3": lambda: MIXED.predict(400, 300, 1, Load(in_flight=3)).usd_average,
    "R1": lambda: files.router("lambda").usd(None),
    "R2": lambda: files.router("lambda").usd(10_000) - files.router("lambda").usd(0),
    "E1": lambda: maverick("math"),
    "E2": lambda: maverick("code"),
    "E3": lambda: maverick("summarization"),
    "E4": lambda: prior("math", 0.5),
    "E5": lambda: prior("math", 0.25),
    "G1": lambda: C8G.card.charge_nano(200, 0, 200),
    "G2": lambda: P5.card.charge_nano(200, 0, 200),
    "G3": lambda: 1e-5 * (C8G.card.charge_nano(200, 0, 200) - P5.card.charge_nano(200, 0, 200)),
    "G4": lambda: P5.usd_per_hour - 1e4 * c8g_usd(),
}
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def calculated(text):
    """Return the value of an arithmetic expression over plain numbers."""

    def value(node):
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.BinOp(left=left, op=op, right=right):
                return OPERATORS[type(op)](value(left), value(right))
        raise AssertionError(f"not plain arithmetic: {text}")

    return value(ast.parse(text, mode="eval").body)


def agrees(value, shown):
    """Tell whether a number as shown (`$0.65`, `7,436 ms`) is this value to its last digit."""
    text = re.search(r"[\d,.]+", shown)[0].replace(",", "")
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    if shown.endswith("nano-USD") and math.ceil(value) == int(text):
        return True  # charges are rounded up
    return abs(value - float(text)) <= half * (1 + 1e-6)


def worked_rows():
    return [row for t in tables(DOCS / "cost-model.md") if t[0][0] == "#" for row in t[1:]]


def test_every_worked_number_is_known_to_this_test():
    assert [row[0] for row in worked_rows()] == list(WORKED)


@pytest.mark.parametrize("row", worked_rows(), ids=lambda row: row[0])
def test_a_worked_number_is_what_the_code_says_and_what_its_calculation_gives(row):
    number, _, calculation, shown = row
    assert agrees(WORKED[number](), shown)
    assert agrees(calculated(*codes(calculation)), shown)


def test_the_number_shown_is_compared_to_its_last_digit():
    assert agrees(0.6503, "$0.65")
    assert not agrees(0.6553, "$0.65")
    assert agrees(297292.04, "297,292")
    assert not agrees(297293, "297,292")
    assert not agrees(3911, "3,910 nano-USD")


@pytest.mark.parametrize("row", table("cost-model.md", "fleet"), ids=lambda row: row[0])
def test_the_figures_of_an_accelerator_are_those_of_its_profile(row):
    name, k, capacity, lone, usd_lone, usd_first, usd_capacity = row
    on = MODELS[codes(name)[0]]
    points = on.fleet.profile.points
    assert agrees(points[0].concurrency, k)
    assert agrees(on.capacity, capacity)
    assert agrees(on.fleet.profile.speed(1).tok_s, lone)
    assert agrees(per_mtok(on, 1), usd_lone)
    assert agrees(per_mtok(on, points[0].concurrency), usd_first)
    assert agrees(per_mtok(on, on.capacity), usd_capacity)


def test_every_emulated_fleet_has_its_figures():
    emulated = {name for name, on in MODELS.items() if on.fleet.emulated}
    assert listed(table("cost-model.md", "fleet")) == emulated


def test_the_marks_are_those_that_the_code_makes():
    sources = [p for name in ("backends", "router") for p in (ROOT / name).rglob("*.py")]
    text = "".join(path.read_text("utf-8") for path in sources)
    assumed = set(re.findall(r'"(assumed:\w+)"', text))
    assert len(assumed) > 5
    fixed = {"emulated", "relaxed:<limit>", *get_args(Mark)}
    assert listed(table("cost-model.md", "mark")) == assumed | fixed
