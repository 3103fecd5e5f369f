"""A real router with --auth-config, and a real issuer."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys

import httpx
import pytest
from issuer import Issuer, jwk
from support import catalogue, fleet, policy, sluice, wait_until

from router import entry
from router.settings import Settings

ARN = "arn:aws:iam::111122223333:role/search"
CONTEXT = json.dumps(
    {"identity": {"userArn": "arn:aws:sts::111122223333:assumed-role/search/session"}}
)
IAM = f"version: 1\niam: {{principals: [{{arn: '{ARN}', tenant: acme, team: search}}]}}\n"
LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "sluice", "AWS_LAMBDA_FUNCTION_VERSION": "7"}


@pytest.fixture
def issuer():
    running = Issuer()
    yield running
    running.stop()


@pytest.fixture
def router(start_router, upstream, issuer, tmp_path):
    auth = tmp_path / "auth.yaml"
    auth.write_text(
        f"version: 1\njwt:\n  issuer: {issuer.url}\n  audience: sluice\n"
        "  claims: {tenant: org, team: team, tags: {cc: cost_center}}\n"
        "  admin: {claim: roles, has: sluice-admin}\n"
    )
    fleets = catalogue(fleet("one", upstream.url))
    return start_router(fleets, policy(), "--auth-config", auth)


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def test_a_token_routes_and_its_claims_stand_in_the_receipt(router, issuer):
    response = router.chat(headers=bearer(issuer.token(cost_center="77")))
    assert response.status_code == 200
    facts = router.receipt(response)["facts"]
    assert (facts["tenant"], facts["team"], facts["key"]) == ("acme", "search", "jwt:user-1")
    assert facts["tags"] == {"cc": "77"}


def test_neither_a_key_nor_a_token_is_written_anywhere(router, issuer):
    token = issuer.token(cost_center="77")
    for headers in (bearer(token), {"authorization": "", "x-sluice-key": router.key}):
        router.receipt(router.chat(headers=headers))
    kept = router.log() + httpx.get(f"{router.url}/metrics").text
    files = [path for path in router.state.rglob("*") if path.is_file()]
    kept += "".join(path.read_bytes().decode("latin-1") for path in files)
    for secret in (router.key.split("-")[3], *token.split(".")[1:]):
        assert secret not in kept
    assert '"key":"jwt:user-1"' in kept


def test_keys_go_on_beside_tokens(router):
    assert router.chat().status_code == 200


@pytest.mark.parametrize("kind", ["expired", "forged", "unknown key", "unsigned", "not mapped"])
def test_a_token_that_is_no_good_gets_nothing_and_leaves_no_trace(router, issuer, upstream, kind):
    token = {
        "expired": lambda: issuer.token(exp=5, cost_center="77"),
        "forged": lambda: issuer.token(number=7, cost_center="77"),
        "unknown key": lambda: issuer.token(kid="other", cost_center="77"),
        "unsigned": lambda: issuer.token().rpartition(".")[0] + ".",
        "not mapped": issuer.token,
    }[kind]()
    response = router.chat(headers=bearer(token))
    assert response.status_code == (403 if kind == "not mapped" else 401)
    if response.status_code == 401:
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert upstream.bodies == []
    assert router.receipts() == []
    assert token.split(".")[1] not in response.text + router.log()


def test_metrics_are_for_admins_and_for_this_machine(router, issuer):
    def status(headers):
        return httpx.get(f"{router.url}/metrics", headers=headers).status_code

    afar = {"x-forwarded-for": "203.0.113.9"}
    claims = {"cost_center": "77"}
    assert status({}) == 200
    assert status(afar) == 401
    assert status({**afar, **bearer(issuer.token(**claims))}) == 403
    assert status({**afar, **bearer(router.key)}) == 403
    admin = issuer.token(roles=["a", "sluice-admin"], **claims)
    assert status({**afar, **bearer(admin)}) == 200


@pytest.mark.parametrize(
    "name", ["x-amzn-request-context", "x-amzn-lambda-context", "forwarded", "via", "x-real-ip"]
)
def test_a_request_that_was_handed_on_is_not_local(router, name):
    assert httpx.get(f"{router.url}/metrics", headers={name: "x"}).status_code == 401


def test_a_request_context_is_not_believed_outside_of_lambda(router):
    headers = {"x-amzn-request-context": CONTEXT}
    assert httpx.get(f"{router.url}/v1/models", headers=headers).status_code == 401


def test_the_issuers_new_key_is_believed_within_seconds(router, issuer):
    assert router.chat(headers=bearer(issuer.token(cost_center="77"))).status_code == 200
    issuer.publish(jwk("EdDSA", "two"))
    token = issuer.token("EdDSA", "two", cost_center="77")
    wait_until(lambda: router.chat(headers=bearer(token)).status_code == 200)
    assert router.chat(headers=bearer(issuer.token(cost_center="77"))).status_code == 401


def test_a_store_that_fails_is_no_unknown_key(router):
    db = sqlite3.connect(router.state / "sluice.db")
    db.execute("UPDATE keys SET row = '{}'")
    db.commit()
    db.close()

    def status():
        return router.http.get("/v1/models").status_code

    wait_until(lambda: status() == 503)
    said = router.http.get("/v1/models")
    assert said.json()["error"]["code"] == "keys_unreadable"
    assert said.headers["retry-after"] == "2"
    assert router.key not in said.text + router.log()


# -- a file that changes ---------------------------------------------------------------------------


def test_a_change_of_the_file_is_followed_and_a_wrong_one_is_told(router, issuer, tmp_path):
    auth = tmp_path / "auth.yaml"
    token = issuer.token(cost_center="77")
    assert router.chat(headers=bearer(token)).status_code == 200
    good = auth.read_text()
    auth.write_text(good.replace("audience: sluice", "audience: another"))
    wait_until(lambda: router.chat(headers=bearer(token)).status_code == 401)
    auth.write_text(good.replace("audience: sluice", "audiences: sluice"))
    wait_until(lambda: "auth.yaml:4: jwt" in router.log())
    assert router.chat(headers=bearer(token)).status_code == 401
    issuer.stop()  # what is known of this issuer stays known
    auth.write_text(good)
    wait_until(lambda: router.chat(headers=bearer(token)).status_code == 200)
    assert router.chat().status_code == 200


def test_what_the_machine_lacks_is_not_adopted_either(router, tmp_path):
    (tmp_path / "auth.yaml").write_text(IAM)
    wait_until(lambda: "inside Lambda only" in router.log())
    headers = {"x-amzn-request-context": CONTEXT}
    assert httpx.get(f"{router.url}/v1/models", headers=headers).status_code == 401


# -- inside Lambda ---------------------------------------------------------------------------------


@pytest.fixture
def in_lambda(tmp_path):
    """Call the app as the Lambda Web Adapter does, from this machine."""
    (tmp_path / "auth.yaml").write_text(IAM)
    app = entry.build(
        Settings(tmp_path / "state", auth_config=tmp_path / "auth.yaml", environment=LAMBDA)
    )

    async def call(*headers):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://router") as client:
            return await client.get("/v1/models", headers=list(headers))

    yield call
    app.auth.keys.close()
    app.feedback.labels.close()


def run(story):
    return asyncio.run(story)


def test_inside_lambda_the_principal_is_the_caller(in_lambda):
    assert run(in_lambda(("x-amzn-request-context", CONTEXT))).status_code == 200
    other = CONTEXT.replace("/search/", "/other/")
    refused = run(in_lambda(("x-amzn-request-context", other)))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "identity_not_mapped")


def test_of_two_contexts_none_is_believed(in_lambda):
    twice = (("x-amzn-request-context", CONTEXT), ("X-Amzn-Request-Context", CONTEXT))
    assert run(in_lambda(*twice)).status_code == 401


def test_a_route_without_iam_auth_asks_for_a_key(in_lambda):
    assert run(in_lambda(("x-amzn-request-context", '{"identity": {}}'))).status_code == 401
    assert run(in_lambda()).status_code == 401


# -- what doesn't start ----------------------------------------------------------------------------


def serve(tmp_path, text, *more, **environment):
    (tmp_path / "auth.yaml").write_text(text)
    state = ["--state", tmp_path / "state", "--port", "0"]
    options = [*state, "--auth-config", tmp_path / "auth.yaml", *more]
    return sluice("serve", *options, env={**os.environ, **environment})


def test_iam_outside_of_lambda_or_open_to_others_does_not_start(tmp_path):
    outside = serve(tmp_path, IAM)
    assert (outside.returncode, "inside Lambda only" in outside.stderr) == (2, True)
    half = serve(tmp_path, IAM, AWS_LAMBDA_FUNCTION_NAME="sluice")
    assert (half.returncode, "inside Lambda only" in half.stderr) == (2, True)
    opened = serve(tmp_path, IAM, "--host", "0.0.0.0", **LAMBDA)
    assert (opened.returncode, "loopback address only" in opened.stderr) == (2, True)


def test_auth_none_and_a_configuration_contradict_each_other(tmp_path):
    both = serve(tmp_path, IAM, "--auth", "none")
    assert (both.returncode, "choose one" in both.stderr) == (2, True)


def test_a_configuration_that_is_wrong_is_told_with_its_line(tmp_path):
    wrong = serve(tmp_path, "version: 1\njwt:\n  issuer: http://id.example\n  audience: a\n")
    assert wrong.returncode == 3
    assert "auth.yaml:3: jwt.issuer: who signs must be known for sure" in wrong.stderr
    assert "auth.yaml:2: jwt: say who the tenant is" in wrong.stderr


def test_tokens_need_their_extra(tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "jwt.py").write_text("raise ImportError\n")
    text = "version: 1\njwt: {issuer: 'https://id.example', audience: a, give: {tenant: t}}\n"
    lacking = serve(tmp_path, text, PYTHONPATH=str(tmp_path / "without"))
    assert (lacking.returncode, "`sluice[jwt]`" in lacking.stderr) == (2, True)


def test_the_library_of_tokens_is_imported_where_tokens_are_believed_only():
    code = (
        "import router.entry, sys; sys.exit('jwt' in sys.modules or 'cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
