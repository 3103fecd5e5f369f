"""The validator of AppConfig: its handler as Lambda calls it, beside a bundle's `config/`."""

import base64

import pytest
from support import catalogue, fleet, policy

from backends import files
from router.published_form import published_form
from router.sources import names_of
from router.workers.validator import PolicyRefused, handler, judged
from yamlfile import Invalid

CASES = "version: 1\ncases:\n  - {name: to one, expect: {fleet: one}}\n"


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    config = tmp_path / "config"
    (config / "cases").mkdir(parents=True)
    (config / "fleets.yaml").write_text(catalogue(fleet("one", "http://127.0.0.1:1/v1")))
    return config


def event(text, **more):
    content = text if isinstance(text, bytes) else text.encode()
    told = {"content": base64.b64encode(content).decode(), "configurationVersion": "7"}
    return {"applicationId": "a", "configurationProfileId": "p", "uri": "hosted", **told, **more}


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level("INFO", "sluice-validator")


def test_a_right_policy_passes_with_its_cases_and_the_log_says_what_it_is(bundle, caplog):
    (bundle / "cases" / "any.yaml").write_text(CASES)
    assert handler(event(policy()), None) is None
    (said,) = caplog.messages
    assert said.startswith("version 7 is test ")
    assert said.endswith("1 cases pass")


def test_what_is_published_passes(bundle):
    fleets = files.catalogue(bundle / "fleets.yaml")
    text, _, _ = published_form(f"# why\n{policy()}", "it", names_of(fleets))
    handler(event(text), None)


def test_a_wrong_policy_is_refused_with_what_check_says_and_the_log_holds_none_of_it(
    bundle, caplog
):
    with pytest.raises(PolicyRefused, match="version 7:6: rule all: unknown lane `gpu`"):
        handler(event(policy(use="gpu")), None)
    assert caplog.messages == ["version 7 is refused, 1 problems"]


def test_a_case_that_fails_refuses_it(bundle):
    (bundle / "cases" / "any.yaml").write_text(CASES.replace("fleet: one", "fleet: two"))
    with pytest.raises(PolicyRefused, match=r"config/cases/any.yaml:3: .*two"):
        handler(event(policy()), None)


def test_of_several_case_files_the_policys_own_is_run(bundle):
    (bundle / "cases" / "a.yaml").write_text(CASES.replace("fleet: one", "fleet: two"))
    (bundle / "cases" / "test.yaml").write_text(CASES)
    handler(event(policy()), None)
    (bundle / "cases" / "test.yaml").rename(bundle / "cases" / "b.yaml")
    with pytest.raises(PolicyRefused, match=r"2 case files, and none is called `test\.yaml`"):
        handler(event(policy()), None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (event(b"\xb2\xdf"), "version 7:1: not UTF-8"),
        (event("", content="%"), "version 7:1: AppConfig sent no content in base64"),
        ({}, r"version \?:1: AppConfig sent no content in base64"),
        (event(""), "version 7:1: the file is empty"),
        (event("{"), "version 7:"),
    ],
    ids=str,
)
def test_what_is_no_text_of_a_policy_is_refused(bundle, given, said):
    with pytest.raises(PolicyRefused, match=said):
        handler(given, None)


def test_a_long_list_of_problems_is_cut(bundle):
    rules = "".join(f"  - {{id: r{n}, when: {{tier: simple}}, use: gpu}}\n" for n in range(30))
    with pytest.raises(PolicyRefused, match="and 10 more: `sluice policy check`") as refused:
        handler(event(policy(rules=rules)), None)
    assert str(refused.value).count("\n") == 20


def test_where_routers_are_on_lambda_what_they_refuse_is_refused(bundle, monkeypatch):
    shadow = (
        "budgets: [{id: s, match: {tenant: sluice-shadow}, usd: 1, per: day, when_spent: reject}]\n"
        "shadow: {share: 0.1, judge: m, budget: s}\n"
    )
    handler(event(policy() + shadow), None)
    monkeypatch.setenv("SLUICE_ROUTER_ON", "lambda")
    with pytest.raises(PolicyRefused, match="`shadow` judges answers after they were sent"):
        handler(event(policy() + shadow), None)


def test_a_bundle_without_cases_asks_for_none(bundle):
    (bundle / "cases").rmdir()
    assert judged(policy(), "it", bundle, frozen=False)[1] == 0


def test_an_empty_case_file_is_no_pass(bundle):
    (bundle / "cases" / "any.yaml").write_text("version: 1\ncases: []\n")
    with pytest.raises(Invalid):
        judged(policy(), "it", bundle, frozen=False)


def test_a_canary_is_refused_since_appconfig_deploys_by_steps_itself(bundle):
    text = policy() + "canary: {policy: next, share: 0.1}\n"
    with pytest.raises(PolicyRefused, match="version 7: canary: on AppConfig a policy goes out by"):
        handler(event(text), None)
