"""Catalogues, profiles, prices and quality tables: what is read, and how each mistake is told."""

import json

import botocore.session
import pytest
import yaml

import yamlfile
from backends import files, parse, parse_sagemaker
from backends.base import SageMakerTarget
from backends.catalogue import KeyRef, ready
from backends.parse import Source
from backends.points import Quantiles

SHELF = files.library()
EMBEDDED = files.embedded_fleets().text
GOOD = """\
version: 1
models:
  - {id: m, context_tokens: 1000, abilities: [json], languages: [en], quality: qwen3-0.6b}
fleets:
  - id: a
    model: m
    lane: cpu
    engine: vllm
    kind: openai_http
    url: http://127.0.0.1:8000/v1
    instance: c8g.xlarge
    region: us-east-1
    replicas: {min: 1, max: 2, concurrency_each: 4, scale_out_at: 0.5}
    profile: c8g.xlarge/qwen3-0.6b
"""


def read(text):
    return parse.catalogue(Source("f.yaml", text), SHELF)


def problems(text):
    with pytest.raises(yamlfile.Invalid) as found:
        read(text)
    return [str(problem) for problem in found.value.problems]


def test_a_fleet_is_read_with_its_price_from_the_book():
    (fleet,) = read(GOOD).fleets
    assert (fleet.id, fleet.lane, fleet.upstream_model) == ("a", "cpu", "m")
    assert fleet.price.usd_per_hour == 0.15952
    assert fleet.price.source == "S1"
    assert fleet.profile.points[0].tok_s == 36.22
    assert (fleet.replicas.max, fleet.replicas.scale_out_at) == (2, 0.5)
    assert fleet.context_tokens == 1000


def test_what_is_left_out_takes_its_default():
    written = "{min: 1, max: 2, concurrency_each: 4, scale_out_at: 0.5}"
    text = GOOD.replace(written, "{concurrency_each: 4}")
    replicas = read(text).fleets[0].replicas
    assert (replicas.min, replicas.max, replicas.scale_out_at) == (0, 1, 0.7)


def test_a_price_of_ones_own_is_stated_with_its_source_or_its_line():
    own = read(GOOD + "    usd_per_hour: 2.5\n    price_source: our contract\n").fleets[0].price
    assert (own.usd_per_hour, own.source, own.mark) == (2.5, "our contract", "stated")
    assert read(GOOD + "    usd_per_hour: 2.5\n").fleets[0].price.source == "f.yaml:15"


def test_a_machine_that_is_in_no_book_has_an_unknown_price():
    assert read(GOOD.replace("us-east-1", "mars-1")).fleets[0].price is None


def test_a_key_is_a_reference_and_never_a_value():
    fleet = read(GOOD + "    api_key: ${env:VLLM_KEY}\n").fleets[0]
    assert fleet.api_key == KeyRef("env", "VLLM_KEY", None, "f.yaml:15")
    (said,) = problems(GOOD + "    api_key: sk-secret-value\n")
    assert "${env:NAME}" in said
    assert said.startswith("f.yaml:15:")
    assert "sk-secret" not in said


def test_several_urls_are_equal_replicas():
    text = GOOD.replace(
        "    url: http://127.0.0.1:8000/v1\n",
        "    urls: [http://127.0.0.1:8000/v1, http://127.0.0.1:8001/v1]\n",
    )
    assert len(read(text).fleets[0].urls) == 2


SAGEMAKER = GOOD.replace("kind: openai_http", "kind: sagemaker\n    endpoint: chat-1").replace(
    "    url: http://127.0.0.1:8000/v1\n", ""
)


PARTS = """\
    url: https://vpce-1.example.com
    upstream_model: served
    protocol: invoke_endpoint
    inference_component: part-1
    variant: blue
    prefix_aware_id: sluice
"""


def test_a_sagemaker_fleet_needs_no_url_and_sends_no_model():
    fleet = read(SAGEMAKER).fleets[0]
    assert fleet.upstream_model == ""
    assert fleet.urls == ("https://runtime.sagemaker.us-east-1.amazonaws.com",)
    assert fleet.sagemaker == SageMakerTarget("chat-1", "us-east-1")


def test_a_url_of_a_sagemaker_fleet_goes_before_the_regions():
    fleet = read(SAGEMAKER + PARTS).fleets[0]
    assert fleet.urls == ("https://vpce-1.example.com",)
    assert fleet.upstream_model == "served"
    assert fleet.sagemaker == SageMakerTarget(
        "chat-1", "us-east-1", "part-1", invoke=True, variant="blue", prefix_aware_id="sluice"
    )


def test_the_doors_to_an_endpoint_are_no_replicas():
    doors = "    urls: [https://a.example.com, https://b.example.com]\n"
    assert ready(read(SAGEMAKER + doors).fleets[0]) == 1


def test_every_region_has_the_host_that_botocore_calls():
    session = botocore.session.Session()
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("sagemaker-runtime", partition):
            client = session.create_client(
                "sagemaker-runtime",
                region_name=region,
                aws_access_key_id="a",
                aws_secret_access_key="b",
            )
            assert parse_sagemaker.url(region) == client.meta.endpoint_url
            client.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("endpoint: chat-1", "endpoint: chat_1", "f.yaml:10: fleets[0].endpoint: `chat_1` is not"),
        ("endpoint: chat-1", "endpoint: a/../b", "is not a name at SageMaker"),
        ("endpoint: chat-1", f"endpoint: {'a' * 64}", "is not a name at SageMaker"),
        ("region: us-east-1", "region: office", "`office` is no AWS region (valid: as us-east-1)"),
        ("endpoint: chat-1", "endpoint: e\n    variant: b", "with `protocol: invoke_endpoint`"),
        ("endpoint: chat-1", "endpoint: e\n    prefix_aware_id: b", "`prefix_aware_id` goes with"),
        ("endpoint: chat-1", "endpoint: e\n    protocol: grpc", "unknown value `grpc`"),
        ("endpoint: chat-1", 'endpoint: e\n    prefix_aware_id: "机"', "visible ASCII"),
        ("endpoint: chat-1", "endpoint: e\n    url: ftp://x", "unknown scheme `ftp`"),
        ("endpoint: chat-1", "endpoint: e\n    api_key: ${env:K}", "called with AWS credentials"),
    ],
)
def test_a_mistake_in_a_sagemaker_fleet_is_told_with_its_line(old, new, said):
    text = SAGEMAKER.replace(old, new)
    assert any(said in problem for problem in problems(text)), problems(text)


def test_a_wrong_url_of_several_is_told_with_its_own_line():
    text = GOOD.replace(
        "    url: http://127.0.0.1:8000/v1\n",
        "    urls:\n      - http://127.0.0.1:8000/v1\n      - http://0xa9fea9fe/v1\n"
        "      - http://me:secret@a/v1\n",
    )
    link_local, credentials = problems(text)
    assert link_local.startswith("f.yaml:12: fleet a: `0xa9fea9fe` is a link-local address")
    assert credentials.startswith("f.yaml:13: fleet a: a url carries no credentials")
    assert "secret" not in credentials


@pytest.mark.parametrize("again", ["http://a/v1", "http://a:80/v1", "HTTP://A/v1/"])
def test_a_url_that_stands_twice_is_no_second_replica(again):
    text = GOOD.replace(
        "    url: http://127.0.0.1:8000/v1\n",
        f"    urls:\n      - http://a/v1\n      - http://a/v2\n      - {again}\n",
    )
    (said,) = problems(text)
    assert said == (
        f"f.yaml:13: fleet a: `{again}` stands here twice: every url is a replica of its own"
    )


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/completions/"])
def test_a_url_with_the_path_of_a_call_is_refused(path):
    (said,) = problems(GOOD.replace("8000/v1", f"8000{path}"))
    assert "a url ends before `/" in said
    assert "(valid: `http://host:port/v1`)" in said


def test_a_door_to_sagemaker_has_no_endpoints_path():
    door = "    url: https://vpce-1.example.com/endpoints/chat-1/invocations\n"
    (said,) = problems(SAGEMAKER + door)
    assert "the path of an endpoint doesn't belong into the url" in said


def test_a_key_is_told_with_its_line_where_it_is_missing():
    assert read(GOOD + "    api_key: ${env:VLLM_KEY}\n").fleets[0].api_key.at == "f.yaml:15"


def test_emulated_fleets_are_marked():
    fleet = read(GOOD.replace("kind: openai_http", "kind: emulated")).fleets[0]
    assert fleet.marks == ("emulated",)


def test_a_smaller_context_of_the_fleet_counts_a_larger_one_is_refused():
    assert read(GOOD + "    context_tokens: 500\n").fleets[0].context_tokens == 500
    [said] = problems(GOOD + "    context_tokens: 5000\n")
    told = "f.yaml:15: fleet a: context_tokens: 5,000 is more than the 1,000 of its model `m`"
    assert said.startswith(told)


def test_a_stored_version_whose_context_was_cut_is_still_read():
    whole = read(GOOD + "    context_tokens: 500\n")
    [row] = whole.compiled["fleets"]
    before = {**whole.compiled, "fleets": [{**row, "context_tokens": 5000}]}
    assert parse.from_compiled(before, whole.prices).fleets[0].context_tokens == 1000


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lane: cpu", "lanes: cpu", "f.yaml:5: fleets[0]: `lane` is missing"),
        ("lane: cpu", "lanes: cpu", "unknown key `lanes` (did you mean `lane`?"),
        ("model: m\n", "model: mm\n", "f.yaml:6: fleet a: unknown model `mm` (did you mean `m`?"),
        ("engine: vllm", "engine: vlm", "f.yaml:8: fleets[0].engine: unknown value `vlm` (did you"),
        ("kind: openai_http", "kind: grpc", "f.yaml:9: fleets[0].kind: unknown value `grpc`"),
        ("kind: openai_http", "kind: sagemaker", "f.yaml:9: fleet a: `kind: sagemaker` needs"),
        ("lane: cpu", "lane: cpu\n    endpoint: e", "`endpoint` goes with `kind: sagemaker`"),
        ("lane: cpu", "lane: cpu\n    protocol: openai", "`protocol` goes with `kind: sagemaker`"),
        ("http://127.0.0.1:8000/v1", "ftp://x/v1", "f.yaml:10: fleet a: unknown scheme `ftp`"),
        ("http://127.0.0.1:8000/v1", "http://169.254.169.254/v1", "link-local"),
        ("http://127.0.0.1:8000/v1", "http://u:p@h/v1", "carries no credentials"),
        ("    url: http://127.0.0.1:8000/v1\n", "", "needs either `url` or `urls`"),
        ("c8g.xlarge/qwen3-0.6b", "c9g/qwen3", "f.yaml:14: fleet a: unknown profile `c9g/qwen3`"),
        ("quality: qwen3-0.6b", "quality: gpt", "f.yaml:3: model m: unknown quality table `gpt`"),
        ("min: 1, max: 2", "min: 3, max: 2", "f.yaml:13: fleet a: `min` is above `max`"),
        ("concurrency_each: 4", "concurrency_each: 0", "f.yaml:13:"),
        ("scale_out_at: 0.5", "scale_out_at: 1.5", "`1.5` is above 1"),
        (
            "lane: cpu",
            "lane: cpu\n    usd_per_hour: 1e30",
            "usd_per_hour: `1e+30` is above 1000000",
        ),
        ("lane: cpu", "lane: cpu\n    fallback_usd_per_mtok: 2e6", "is above 1000000"),
        ("version: 1", "version: 2", "the only version of this form"),
        ("abilities: [json]", "abilities: [sing]", "unknown value `sing`"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(old, new, said):
    assert any(said in problem for problem in problems(GOOD.replace(old, new))), problems(
        GOOD.replace(old, new)
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    purchase: []\n", "needs a tranche"),
        ("    purchase: [{option: spot}, {option: on_demand}]\n", "but the last needs `replicas`"),
        ("    purchase: [{option: spot}]\n    usd_per_hour: 1\n", "from the price book"),
        ("    host_share: 0.5\n", "`host_share` needs `host`"),
        ("    price_source: me\n", "`price_source` needs `usd_per_hour`"),
        ("    usd_per_hour: -1\n", "`-1` is not above 0"),
    ],
)
def test_keys_that_contradict_each_other_are_told(more, said):
    assert said in problems(GOOD + more)[0]


def test_names_that_stand_twice_are_told():
    value = yaml.safe_load(GOOD)
    value["fleets"] *= 2
    value["models"] *= 2
    said = "\n".join(problems(json.dumps(value)))
    assert "fleet `a` stands here twice" in said
    assert "model `m` stands here twice" in said


def test_shares_of_one_host_are_no_more_than_the_host():
    value = yaml.safe_load(GOOD)
    first = value["fleets"][0]
    value["fleets"] = [
        {**first, "id": name, "host": "h", "host_share": share}
        for name, share in (("a", 0.6), ("b", 0.4))
    ]
    assert len(read(json.dumps(value)).fleets) == 2
    value["fleets"][1]["host_share"] = 0.41
    assert "shares of host `h` add up to 1.01: 1 is all of it" in problems(json.dumps(value))[0]


def test_a_catalogue_is_rebuilt_from_its_stored_version():
    whole = read(EMBEDDED)
    compiled = json.loads(json.dumps(whole.compiled))
    again = parse.from_compiled(compiled, json.loads(json.dumps(whole.prices)))
    assert again == whole


def test_the_hash_is_that_of_the_meaning_not_of_the_spelling():
    assert read(GOOD).hash == read("# a comment\n" + GOOD).hash
    assert read(GOOD).hash != read(GOOD.replace("max: 2", "max: 3")).hash


PROFILE = {
    "id": "box/m",
    "model": "m",
    "instance": "box",
    "source": "here",
    "mark": "measured",
    "points": [{"concurrency": 1, "tok_s": 10}, {"concurrency": 2, "tok_s": 15}],
}


def profile(**changes):
    text = json.dumps({"version": 1, "profiles": [{**PROFILE, **changes}]})
    quality, prices = (
        files.packaged("backends", "data", name) for name in ("quality.yaml", "prices.yaml")
    )
    return parse.library([Source("p.yaml", text)], quality, prices).profiles["box/m"]


def test_an_itl_that_is_not_given_follows_from_the_throughput():
    assert profile().speed(2).itl_ms == pytest.approx(1000 * 2 / 15)


def test_points_may_stand_in_any_order():
    assert profile(points=PROFILE["points"][::-1]) == profile()


def test_a_point_may_give_its_own_lengths_and_percentiles():
    points = [
        {
            "concurrency": 4,
            "mix_tok_s": 90,
            "tokens_in": 300,
            "tokens_out": 30,
            "ttft_ms": {"mean": 90, "p50": 80, "p95": 200},
            "itl_ms": 11,
            "e2e_ms": {"mean": 400},
        }
    ]
    (point,) = profile(points=points).points
    assert point.ttft_ms == Quantiles(80, 200)
    assert point.itl == Quantiles(11)
    assert point.e2e_ms == Quantiles(400)
    assert (point.tok_s, point.mix_tok_s, point.tokens_in) == (None, 90, 300)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"points": []}, "is empty"),
        ({"points": [{"tok_s": 10}]}, "`concurrency` is missing"),
        ({"points": PROFILE["points"][:1] * 2}, "the same `concurrency` and lengths stand here"),
        ({"points": [{"concurrency": 1}]}, "needs either `tok_s` or `mix_tok_s`"),
        ({"points": [{"concurrency": 1, "tok_s": 1, "mix_tok_s": 1}]}, "needs either `tok_s`"),
        ({"points": [{"concurrency": 1, "mix_tok_s": 1}]}, "`mix_tok_s` needs `tokens_in`"),
        ({"points": [{"concurrency": 1, "mix_tok_s": 1}]}, "`mix_tok_s` needs `tokens_out`"),
        ({"points": [{"concurrency": 1, "tok_s": 9, "ttft_ms": {"p95": 3}}]}, "`p50` is missing"),
        (
            {"points": [{"concurrency": 1, "tok_s": 9, "itl_ms": {"p50": 9, "p99": 5}}]},
            "`itl_ms`: p50 (9) is above p99 (5)",
        ),
        ({"itl_ms": 9}, "goes with `reading: little_consistent`"),
        ({"reading": "little_consistent", "points": [{"column": 1}]}, "needs `tok_s`"),
        ({"reading": "little_consistent"}, "`column` is missing"),
        ({"reading": "little_consistent"}, "`itl_ms` is missing"),
        ({"ttft_ms": 10}, "`ttft_ms` needs `tokens_in`"),
        ({"mark": "guessed"}, "unknown value `guessed`"),
        ({"date": "yesterday"}, "is not a date"),
        ({"date": "2026-02-30"}, "`2026-02-30` is not a date (YYYY-MM-DD)"),
    ],
)
def test_a_profile_that_cant_be_right_is_told(changes, said):
    with pytest.raises(yamlfile.Invalid, match=r"p\.yaml") as found:
        profile(**changes)
    assert said in str(found.value)


def test_a_price_that_stands_twice_is_told():
    value = yaml.safe_load(files.packaged("backends", "data", "prices.yaml").text)
    value["prices"].append({**value["prices"][0], "as_of": "2025-01-01"})
    text = json.dumps(value, default=str)
    quality = files.packaged("backends", "data", "quality.yaml")
    with pytest.raises(yamlfile.Invalid, match="stands here twice"):
        parse.library([], quality, Source("prices.yaml", text))


CURVE = {"task": "code", "points": [[0.1, 0.9], [0.5, 0.4]], "mark": "measured", "labels": 40}


def quality_table(**row):
    text = json.dumps({"version": 1, "tables": [{"id": "t", "source": "x", **row}]})
    prices = files.packaged("backends", "data", "prices.yaml")
    return parse.library([], Source("q.yaml", text), prices).quality["t"]


def test_a_curve_of_quality_says_how_many_labels_it_comes_from():
    curve = quality_table(by="curves", curves=[CURVE]).curves["code"]
    assert curve.points == ((0.1, 0.9), (0.5, 0.4))
    assert (curve.labels, curve.source, curve.mark) == (40, "x", "measured")


@pytest.mark.parametrize(
    ("curves", "said"),
    [
        ([{**CURVE, "points": [[0.5, 0.9], [0.5, 0.4]]}], "complexity must rise"),
        ([{**CURVE, "points": [[0.1, 0.4], [0.5, 0.9]]}], "p must not rise"),
        ([{**CURVE, "points": [[0.1, 1.4]]}], "1.4"),
        ([{**CURVE, "points": []}], "is empty"),
        ([CURVE, CURVE], "task `code` stands here twice"),
        (None, "`curves` go with `by: curves`"),
    ],
)
def test_a_curve_that_cant_be_right_is_told(curves, said):
    with pytest.raises(yamlfile.Invalid) as found:
        quality_table(by="curves", **({} if curves is None else {"curves": curves}))
    assert said in str(found.value)


@pytest.mark.parametrize("by", ["p_small", "scores"])
def test_scores_go_with_a_table_of_scores_only(by):
    row = {"id": "t", "by": by, "source": "x"}
    if by == "p_small":
        row["scores"] = {"default": 1}
    text = json.dumps({"version": 1, "tables": [row]})
    prices = files.packaged("backends", "data", "prices.yaml")
    with pytest.raises(yamlfile.Invalid, match="`scores` go with"):
        parse.library([], Source("q.yaml", text), prices)


def test_a_users_profile_replaces_the_packaged_one_of_its_name(tmp_path):
    folder = tmp_path / "profiles"
    folder.mkdir()
    own = {**PROFILE, "id": "c8g.xlarge/qwen3-0.6b"}
    (folder / "own.yaml").write_text(json.dumps({"version": 1, "profiles": [own]}), "utf-8")
    assert files.library(tmp_path).profiles["c8g.xlarge/qwen3-0.6b"].source == "here"
    assert files.library(tmp_path / "none").profiles["c8g.xlarge/qwen3-0.6b"].source == "S1"
