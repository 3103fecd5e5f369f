"""Canaries and candidates in a real router: who decides what, and a canary's end by itself."""

import json
import re

import httpx
import pytest
from click.testing import CliRunner
from support import ANSWER, Upstream, catalogue, fleet, plain, policy, process, wait_until

from router.cli.main import cli
from router.sampling import drawn

STOP = "{error_rate_above: 0.02, cost_ratio_above: 1.2}"
DEAR = {**ANSWER, "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}}


def canary(share=0.5, stop_if=STOP, name="next"):
    return f"canary: {{policy: {name}, share: {share}, stop_if: {stop_if}}}\n"


def other(use="accelerator", name="next"):
    return policy(use).replace("name: test", f"name: {name}")


def two(upstream, second):
    return catalogue(
        fleet("one", upstream.url), fleet("two", second.url, lane="accelerator", model="m")
    )


def ready(router):
    return httpx.get(router.url + "/readyz").json()


def metric(router, name):
    text = router.http.get("/metrics").text
    found = re.search(rf"^sluice_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def sluice(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)))


@pytest.fixture
def hook():
    server = Upstream()
    yield server
    server.stop()


def until_stopped(router, most=200):
    """Ask until the canary is stopped; return the answers."""
    answers = []
    while not ready(router)["canary"]["stopped"]:
        assert len(answers) < most, ready(router)
        answers += [router.chat() for _ in range(10)]
    return answers


def test_a_canary_whose_fleet_fails_is_stopped_by_itself_while_the_rest_goes_on(
    start_router, upstream, second_upstream, hook, tmp_path
):
    second_upstream.answers(plain({"error": {"message": "no"}}, 500))
    (tmp_path / "next.yaml").write_text(other(), "utf-8")
    fleets = two(upstream, second_upstream)
    router = start_router(fleets, policy() + canary(), "--alerts", hook.url)
    answers = until_stopped(router)
    wait_until(lambda: "adopted: canary changed" in router.log())
    after = [router.chat() for _ in range(30)]
    assert {each.status_code for each in after} == {200}

    receipts = {one["id"]: one for one in router.receipts()}
    by_canary = [one for one in receipts.values() if "canary" in one]
    assert len(by_canary) == 20  # as few as tell it surely
    for one in answers[:10]:
        name = one.headers["x-sluice-request-id"]
        is_canary = drawn(name, "canary") < 0.5
        assert (one.status_code in (502, 503)) is is_canary  # 503: its circuit is open by then
        assert receipts[name]["policy"]["name"] == ("next" if is_canary else "test")
    assert by_canary[0]["canary"]["of"] == {k: ready(router)["policy"][k] for k in ("name", "hash")}
    assert by_canary[0]["plan"] == ["two"]

    why = "20 of 20 requests failed (100.0%), more than 2.0%"
    found = ready(router)["canary"]
    assert found["stopped"] == why
    assert f"canary next ({found['hash']}) is stopped, policy test" in router.log()
    assert metric(router, 'canary_requests_total{arm="canary",outcome="error"}') == 20
    assert metric(router, "canaries_stopped_total") == 1
    wait_until(lambda: hook.bodies)
    (told,) = hook.bodies
    assert (told["canary"], told["policy"], told["why"]) == ("next", "test", why)
    check_receipt(router, by_canary[0], tmp_path)
    check_restart(router, tmp_path)


def check_receipt(router, receipt, folder):
    (folder / "receipt.json").write_text(json.dumps(receipt), "utf-8")
    ran = sluice("route", "--receipt", folder / "receipt.json", "--state", router.state)
    assert ran.exit_code == 0, ran.output
    assert "every byte of the decision agrees" in ran.output


def check_restart(router, folder):
    """The same router, started anew, does not begin it again; it does where that is removed."""
    command = ["--state", router.state, "--port", "0", "--auth", "none"]
    files = ["--fleets", folder / "fleets.yaml", "--policy", folder / "policy.yaml"]
    log = folder / "again.log"
    serve = [router.process.args[0], "-m", "router.cli", "serve", *command, *files]
    with process(*serve, log=log) as again:
        url = again.first_line.split()[3]
        body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
        asked = [httpx.post(f"{url}/v1/chat/completions", json=body) for _ in range(20)]
        assert {one.status_code for one in asked} == {200}
        (stop,) = (router.state / "canaries").glob("*.json")
        stop.unlink()
        wait_until(lambda: httpx.get(f"{url}/readyz").json()["canary"]["stopped"] is None)


def test_a_canary_that_costs_more_is_stopped_and_means_are_told(
    start_router, upstream, second_upstream, tmp_path
):
    second_upstream.answers(plain(DEAR))
    (tmp_path / "next.yaml").write_text(other(), "utf-8")
    router = start_router(two(upstream, second_upstream), policy() + canary(0.5))
    until_stopped(router, most=400)
    found = ready(router)["canary"]
    assert found["stopped"].startswith("it costs $")
    assert found["canary"]["mean_usd"] > 5 * found["stable"]["mean_usd"]
    assert min(found[arm]["requests"] for arm in ("canary", "stable")) >= 100


def test_callers_mistakes_and_good_answers_stop_nothing(
    start_router, upstream, second_upstream, tmp_path
):
    second_upstream.answers(plain({"error": {"message": "your fault"}}, 400))
    (tmp_path / "next.yaml").write_text(other(), "utf-8")
    router = start_router(two(upstream, second_upstream), policy() + canary(0.7))
    statuses = set()
    while ready(router)["canary"]["canary"]["requests"] <= 20:  # by chance, of ten come seven
        statuses |= {router.chat().status_code for _ in range(10)}
    found = ready(router)["canary"]
    assert statuses == {200, 400}
    assert (found["stopped"], found["canary"]["errors"]) == (None, 0)


def test_what_the_canary_alone_refuses_is_its_error(start_router, upstream, tmp_path):
    narrow = other("cpu").replace("use: cpu}", "use: cpu, when: {team: nobody}}")
    (tmp_path / "next.yaml").write_text(narrow, "utf-8")
    router = start_router(catalogue(fleet("one", upstream.url)), policy() + canary(0.5))
    answers = until_stopped(router)
    assert {one.status_code for one in answers} == {200, 403}
    assert "of 20 requests failed" in ready(router)["canary"]["stopped"]


def test_budgets_and_rate_limits_are_those_of_the_policy_in_force(start_router, upstream, tmp_path):
    more = (
        "budgets: [{id: all, match: {}, usd: 5, per: day, when_spent: reject}]\n"
        "rate_limits: [{id: each, match: {tenant: '*'}, requests_per_min: 7}]\n"
    )
    (tmp_path / "next.yaml").write_text(other("cpu"), "utf-8")
    router = start_router(catalogue(fleet("one", upstream.url)), policy() + more + canary(0.9))
    answers = [router.chat() for _ in range(9)]
    assert [one.status_code for one in answers] == [200] * 7 + [429] * 2
    receipts = [router.receipt(one) for one in answers[:7]]
    assert any("canary" in one for one in receipts)
    assert {one["reservation"]["scopes"][0]["budget"] for one in receipts} == {"all"}


def test_workers_count_and_stop_together(start_router, upstream, second_upstream, tmp_path):
    second_upstream.answers(plain({"error": {"message": "no"}}, 500))
    (tmp_path / "next.yaml").write_text(other(), "utf-8")
    fleets = two(upstream, second_upstream)
    router = start_router(fleets, policy() + canary(), "--workers", "2")
    router.http.headers["connection"] = "close"  # each request may come to another worker
    until_stopped(router)
    wait_until(lambda: router.log().count("adopted: canary changed") == 2)
    assert {router.chat().status_code for _ in range(20)} == {200}
    by_canary = [one for one in router.receipts() if "canary" in one]
    assert 20 <= len(by_canary) <= 30
    assert router.log().count("is stopped, policy test") == 1


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (None, "policy.yaml: canary: there is no `next.yaml` beside it"),
        (
            other("cpu", "late"),
            "next.yaml: its `name` is `late`: of `policy.yaml`",
        ),
        (other("gpu"), "next.yaml:6: rule all: unknown lane `gpu`"),
        (other("cpu") + canary(name="third"), "next.yaml: a canary has no canary of its own"),
    ],
)
def test_a_canary_that_can_not_run_ends_the_start_with_where_and_why(
    upstream, tmp_path, beside, said
):
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", upstream.url)), "utf-8")
    (tmp_path / "policy.yaml").write_text(policy() + canary(), "utf-8")
    if beside is not None:
        (tmp_path / "next.yaml").write_text(beside, "utf-8")
    ran = sluice("serve", "--state", tmp_path, "--fleets", tmp_path / "fleets.yaml",
                 "--policy", tmp_path / "policy.yaml", "--port", "0")  # fmt: skip
    assert ran.exit_code == 3
    assert said in ran.output


def test_on_lambda_a_canary_that_stops_by_itself_is_refused(upstream, tmp_path):
    (tmp_path / "policy.yaml").write_text(policy("accelerator", "llama-4-scout@p5-scout"))
    text = (tmp_path / "policy.yaml").read_text("utf-8")
    (tmp_path / "next.yaml").write_text(text.replace("name: test", "name: next"), "utf-8")
    (tmp_path / "policy.yaml").write_text(text + canary(), "utf-8")
    ran = sluice("serve", "--state", tmp_path, "--policy", tmp_path / "policy.yaml", "--port", "0",
                 "--router-on", "lambda", "--ledger", "dynamodb:table")  # fmt: skip
    assert ran.exit_code == 3
    assert "canary: no environment of Lambda sees enough requests to stop it" in ran.output


def test_a_candidate_decides_beside_and_nothing_is_sent(
    start_router, upstream, second_upstream, tmp_path
):
    (tmp_path / "next.yaml").write_text(other(), "utf-8")
    fleets = two(upstream, second_upstream)
    router = start_router(fleets, policy(), "--candidate", tmp_path / "next.yaml")
    receipt = router.receipt(router.chat())
    said = receipt["candidate"]
    assert (said["policy"]["name"], said["fleet"], said["outcome"]) == (
        "next",
        "two",
        "other_fleet",
    )
    assert said["usd_more"] == said["usd"] - said["usd_in_force"]
    assert receipt["policy"]["name"] == "test"
    assert "canary" not in receipt
    assert second_upstream.bodies == []
    assert metric(router, 'candidate_total{outcome="other_fleet"}') == 1
    assert metric(router, 'candidate_usd_total{policy="candidate"}') == said["usd"]
    check_receipt(router, receipt, tmp_path)
    versions = {path.stem for path in (router.state / "versions").iterdir()}
    assert {said["policy"]["hash"], receipt["policy"]["hash"]} <= versions

    (tmp_path / "part").write_text(other("cpu"), "utf-8")
    (tmp_path / "part").replace(tmp_path / "next.yaml")
    wait_until(lambda: "adopted: candidate changed" in router.log())
    assert router.receipt(router.chat())["candidate"]["outcome"] == "same"


def test_without_canary_or_candidate_receipts_and_readyz_are_as_ever(start_router, upstream):
    router = start_router(catalogue(fleet("one", upstream.url)), policy())
    assert {"canary", "candidate"}.isdisjoint(router.receipt(router.chat()))
    assert "canary" not in ready(router)
