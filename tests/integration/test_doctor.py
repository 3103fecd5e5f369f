"""What `sluice doctor` finds of fleets: real llama-servers, and what other engines say."""

import json

import pytest
from support import catalogue, fleet, plain, policy, sluice

MODELS = {"data": [{"id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 4000}]}
VLLM = b"vllm:num_requests_running 0.0\n"


def page(body):
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
def doctor(tmp_path):
    """Run it over these fleets; return its exit code and its findings by what they are of."""

    def run(*fleets, **more):
        (tmp_path / "fleets.yaml").write_text(catalogue(*fleets, **more), "utf-8")
        (tmp_path / "policy.yaml").write_text(policy(), "utf-8")
        options = ["--fleets", tmp_path / "fleets.yaml", "--policy", tmp_path / "policy.yaml"]
        ran = sluice("doctor", *options, "--state", tmp_path, "--json")
        assert "Traceback" not in ran.stderr
        found = [f for f in json.loads(ran.stdout) if f["what"].endswith(" one")]
        return ran.returncode, {finding["what"]: finding for finding in found}

    return run


def test_a_server_that_is_as_the_catalogue_says_is_in_order(doctor, upstream):
    upstream.pages = {"/v1/models": plain(MODELS), "/metrics": page(VLLM)}
    code, found = doctor(fleet("one", upstream.url))
    assert (code, list(found)) == (0, ["fleet one"])
    told = "vllm, serves `m`, 4000 tokens of context, tells its load at /metrics"
    assert found["fleet one"]["detail"] == f"{upstream.url}: {told}"


@pytest.mark.engine
def test_a_real_llama_server_is_held_against_the_catalogue(doctor, tiny):
    line = fleet("one", tiny, more=", upstream_model: qwen3-tiny").replace("vllm", "llama.cpp")
    code, found = doctor(line)
    assert code == 0
    told = "llama.cpp, serves `qwen3-tiny`, 2048 tokens of context, 2 slots, tells its load at"
    assert told in found["fleet one"]["detail"]
    assert "carries 2 streams at once, the catalogue says 8" in found["slots of one"]["detail"]
    assert "`-np 8`" in found["slots of one"]["advice"]
    assert "takes 2048 tokens, the catalogue says 4000" in found["context of one"]["detail"]
    assert found["context of one"]["verdict"] == "warning"
    mended = line.replace("concurrency_each: 8", "concurrency_each: 2")
    code, found = doctor(mended, context=2048)
    assert (code, list(found)) == (0, ["fleet one"])


@pytest.mark.engine
def test_another_engine_and_another_name_than_the_catalogue_s_are_told(doctor, tiny):
    _, found = doctor(fleet("one", tiny), context=2048)
    assert "is llama.cpp, the catalogue says vllm" in found["engine of one"]["detail"]
    assert "`engine: llama.cpp`" in found["engine of one"]["advice"]
    assert "serves `qwen3-tiny`, not `m`" in found["model of one"]["detail"]
    assert found["model of one"]["verdict"] == "warning"  # it answers under any name
    assert "`--alias m`" in found["model of one"]["advice"]
    # the flags are those of the engine that runs there, and its load can't be read as another's
    assert "`-np 8`" in found["slots of one"]["advice"]
    assert "metrics of one" not in found


def test_a_url_that_redirects_is_told_to_be_no_matter_of_keys(doctor, upstream):
    upstream.pages = {"/v1/models": plain({}, 301, "location: http://127.0.0.1:9/v1/models\r\n")}
    code, found = doctor(fleet("one", upstream.url))
    assert (code, found["fleet one"]["verdict"]) == (1, "failed")
    assert found["fleet one"]["detail"] == f"{upstream.url}/models answered 301"
    assert "redirects are not followed" in found["fleet one"]["advice"]


def test_tls_spoken_to_a_server_without_it_names_the_other_scheme(doctor, upstream):
    _, found = doctor(fleet("one", upstream.url.replace("http:", "https:")))
    assert "write `http://`" in found["fleet one"]["advice"]


def test_a_router_of_ours_behind_a_fleet_is_told_to_be_one(doctor, upstream):
    said = {"data": [{"id": "auto", "owned_by": "sluice"}, {"id": "m", "owned_by": "sluice"}]}
    upstream.pages = {"/v1/models": plain(said)}
    code, found = doctor(fleet("one", upstream.url))
    assert (code, found["engine of one"]["verdict"]) == (0, "warning")
    assert "is a Sluice router" in found["engine of one"]["detail"]
    assert "requests go round" in found["engine of one"]["advice"]


def test_a_policy_that_was_made_for_the_fleets_is_told_to_be(tmp_path, closed_port):
    fleets = tmp_path / "fleets.yaml"
    fleets.write_text(catalogue(fleet("one", f"http://127.0.0.1:{closed_port}/v1")), "utf-8")
    ran = sluice("doctor", "--fleets", fleets, "--state", tmp_path)
    assert "policy fitted (" in ran.stdout
    assert "1 fleets; made for these fleets, as the packaged policy names others" in ran.stdout


def test_beside_a_demo_its_catalogue_is_named(tmp_path):
    state = tmp_path / "demo"
    state.mkdir()
    (state / "fleets.yaml").write_text("")
    ran = sluice("doctor", "--state", state, "--json")
    advice = {found["advice"] for found in json.loads(ran.stdout) if found["verdict"] == "failed"}
    assert all(f"`--fleets {state / 'fleets.yaml'}`" in each for each in advice)


def test_a_model_that_the_server_has_not_fails(doctor, upstream):
    upstream.pages = {"/v1/models": plain(MODELS), "/metrics": page(VLLM)}
    code, found = doctor(fleet("one", upstream.url, more=", upstream_model: meta/m"))
    assert (code, found["model of one"]["verdict"]) == (1, "failed")
    assert "serves `m`, not `meta/m`" in found["model of one"]["detail"]


def test_a_llama_server_without_metrics_is_told_how_to_turn_them_on(doctor, upstream):
    said = {"data": [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 8192}}]}
    upstream.pages = {"/v1/models": plain(said), "/metrics": plain({}, 501)}
    line = fleet("one", upstream.url).replace("vllm", "llama.cpp")
    code, found = doctor(line)
    assert (code, found["metrics of one"]["verdict"]) == (0, "warning")
    assert found["metrics of one"]["advice"] == "start it with `--metrics`"
    assert "8192 tokens of context" in found["fleet one"]["detail"]


def test_ollama_names_its_models_with_a_tag_and_says_what_is_loaded(doctor, upstream):
    said = {"data": [{"id": "m:latest", "owned_by": "library"}, {"id": "x", "owned_by": "library"}]}
    loaded = {"models": [{"name": "m:latest", "model": "m:latest", "context_length": 2048}]}
    upstream.pages = {"/v1/models": plain(said), "/api/ps": plain(loaded)}
    code, found = doctor(fleet("one", upstream.url).replace("vllm", "ollama"))
    assert code == 0
    assert "ollama, serves `m:latest`, `m`, `x`" in found["fleet one"]["detail"]
    assert "takes 2048 tokens, the catalogue says 4000" in found["context of one"]["detail"]


def test_every_url_of_a_fleet_is_asked(doctor, upstream, second_upstream, closed_port):
    for server in (upstream, second_upstream):
        server.pages = {"/v1/models": plain(MODELS), "/metrics": page(VLLM)}
    second_upstream.pages["/v1/models"] = plain({}, 401)
    urls = f'"{upstream.url}", "{second_upstream.url}", "http://127.0.0.1:{closed_port}/v1"'
    line = fleet("one", "X").replace('url: "X"', f"urls: [{urls}]")
    code, _ = doctor(line)
    assert code == 1
    assert [path for path, _ in upstream.got] == ["/v1/models", "/metrics"]
    assert [path for path, _ in second_upstream.got] == ["/v1/models"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"data":7}', b'{"data":[7,{"id":9,"meta":[]}]}']
)
def test_a_server_that_says_nothing_of_use_is_there_and_no_more(doctor, upstream, body):
    upstream.pages = {"/v1/models": page(body)}
    code, found = doctor(fleet("one", upstream.url))
    assert code == 0
    assert (
        "an engine that doesn't say which, serves no model that it names"
        in (found["fleet one"]["detail"])
    )
    assert found["metrics of one"]["verdict"] == "warning"
