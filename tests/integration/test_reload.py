"""Files are watched: a good change is adopted, a bad one is told and the last good one goes on."""

import threading

import httpx
import pytest
from support import START_S, catalogue, fleet, policy, wait_until


@pytest.fixture
def router(start_router, upstream):
    return start_router(catalogue(fleet("one", upstream.url)), policy())


def ready(router):
    return httpx.get(router.url + "/readyz").json()


def write(tmp_path, name, text):
    part = tmp_path / "part"
    part.write_text(text, "utf-8")
    part.replace(tmp_path / name)  # as editors do


def test_a_changed_policy_decides_the_next_requests(router, tmp_path):
    before = ready(router)["policy"]["hash"]
    write(tmp_path, "policy.yaml", policy(rules="  - {id: new, use: cpu}\n"))
    wait_until(lambda: ready(router)["policy"]["hash"] != before)
    assert router.chat().headers["x-sluice-rule"] == "new"
    names = {path.name for path in (router.state / "versions").iterdir()}
    assert f"{before}.json" in names
    assert f"{ready(router)['policy']['hash']}.json" in names


def test_a_wrong_policy_is_refused_with_its_line_and_the_old_one_goes_on(router, tmp_path):
    before = ready(router)["policy"]
    write(tmp_path, "policy.yaml", policy(rules="  - {id: new, use: gpu}\n"))
    wait_until(lambda: ready(router)["policy"]["stale"])
    assert ready(router)["policy"]["hash"] == before["hash"]
    assert router.chat().headers["x-sluice-rule"] == "all"
    assert "policy.yaml:6: rule new: unknown lane `gpu`" in router.log()
    assert "sluice_policy_stale 1.0" in router.http.get("/metrics").text
    write(tmp_path, "policy.yaml", policy())
    wait_until(lambda: not ready(router)["policy"]["stale"])


def test_a_policy_that_vanishes_changes_nothing(router, tmp_path):
    (tmp_path / "policy.yaml").unlink()
    wait_until(lambda: ready(router)["policy"]["stale"])
    assert router.chat().status_code == 200


def test_a_changed_catalogue_keeps_what_is_known_of_its_fleets(
    router, upstream, second_upstream, tmp_path
):
    router.chat()
    learned = router.receipt(router.chat())["load"]["one"]["ewma_itl"]
    assert learned != 1.0
    fleets = catalogue(fleet("one", upstream.url), fleet("two", second_upstream.url))
    write(tmp_path, "fleets.yaml", fleets)
    wait_until(lambda: "two" in ready(router)["fleets"])
    receipt = router.receipt(router.chat(headers={"x-sluice-service-class": "interactive"}))
    assert receipt["load"]["one"]["ewma_itl"] == pytest.approx(learned, abs=0.2)
    assert receipt["load"]["two"]["ewma_itl"] == 1.0


def test_a_request_under_way_ends_with_the_fleet_it_began_with(
    router, upstream, second_upstream, tmp_path
):
    from concurrent.futures import ThreadPoolExecutor

    from support import plain

    seen = threading.Event()

    def slow(body, send, gone):
        seen.wait(START_S)
        send(plain())

    upstream.script = slow
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(router.chat)
        wait_until(lambda: upstream.bodies)
        write(tmp_path, "fleets.yaml", catalogue(fleet("one", second_upstream.url)))
        wait_until(lambda: "adopted" in router.log())
        seen.set()
        assert answer.result().status_code == 200
    router.chat()
    assert len(second_upstream.bodies) == 1


def test_a_policy_that_is_not_utf_8_is_told_and_the_files_are_watched_on(router, tmp_path):
    before = ready(router)["policy"]
    (tmp_path / "policy.yaml").write_bytes("# 策略\n".encode("gbk") + policy().encode())
    wait_until(lambda: ready(router)["policy"]["stale"])
    assert "policy.yaml:1: not UTF-8" in router.log()
    write(tmp_path, "policy.yaml", policy(rules="  - {id: new, use: cpu}\n"))
    wait_until(lambda: ready(router)["policy"]["hash"] != before["hash"])


def test_a_file_that_went_away_is_told_as_at_start(router, tmp_path):
    (tmp_path / "policy.yaml").unlink()
    wait_until(lambda: ready(router)["policy"]["stale"])
    assert f"\n{tmp_path / 'policy.yaml'}: No such file or directory\n" in router.log()


def test_a_refused_change_leaves_the_loads_as_they_were(router, upstream, tmp_path):
    more = ", api_key: '${env:NO_SUCH_KEY}'"
    fleets = catalogue(fleet("one", upstream.url), fleet("two", upstream.url, more=more))
    write(tmp_path, "fleets.yaml", fleets.replace("min: 1, max: 1", "min: 50, max: 50"))
    wait_until(lambda: ready(router)["policy"]["stale"])
    receipt = router.receipt(router.chat())
    assert (receipt["load"]["one"]["committed"], receipt["load"]["one"]["replicas"]) == (1, 1)


def test_a_profile_of_ones_own_is_adopted_when_it_changes(router, upstream):
    before = router.receipt(router.chat())
    folder = router.state / "profiles"
    folder.mkdir()
    own = (
        "version: 1\nprofiles:\n  - {id: c8g.xlarge/qwen3-0.6b, model: m, instance: x, source: us, "
        "mark: measured, prefill_tok_s: 1000, points: [{concurrency: 1, tok_s: 3622}]}\n"
    )
    write(folder, "own.yaml", own)
    wait_until(lambda: "adopted: profiles changed (policy test" in router.log())
    after = router.receipt(router.chat())
    assert after["candidates"][0]["usd_average"] < before["candidates"][0]["usd_average"] / 10


def test_the_log_says_what_changed(router, upstream, tmp_path):
    write(tmp_path, "policy.yaml", policy(rules="  - {id: new, use: cpu}\n"))
    wait_until(lambda: "adopted: policy changed (policy test" in router.log())
    write(tmp_path, "fleets.yaml", catalogue(fleet("one", upstream.url), context=5000))
    wait_until(lambda: "adopted: catalogue changed (" in router.log())
    write(
        tmp_path,
        "fleets.yaml",
        "# a comment\n" + catalogue(fleet("one", upstream.url), context=5000),
    )
    wait_until(lambda: "adopted: nothing that is decided by changed (" in router.log())
    write(
        router.state,
        "prices.yaml",
        "version: 1\ncurrency: USD\nprices:\n  - {instance: c8g.xlarge, region: us-east-1, "
        "purchase: on_demand, usd_per_hour: 0.5, as_of: 2026-11-01, source: us, mark: stated}\n",
    )
    wait_until(lambda: "adopted: prices changed (" in router.log())
