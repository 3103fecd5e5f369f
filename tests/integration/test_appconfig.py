"""Policy and prices out of AWS: AppConfigData and an item of DynamoDB over real HTTP."""

import json
import os
import threading
import time

import httpx
import pytest
from appconfig_server import BY_ID, PLACE
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ledger_support import dynamo_server
from support import START_S, catalogue, fleet, freeze, policy, sluice, thaw, wait_until

from backends import files
from router.appconfig import Reader
from router.appconfig_place import Place, place_of
from router.aws_api import Api, ApiError, ApiUnreachable, Limits
from router.faults import BadSetting, NoPolicy
from router.feed_source import Source
from router.ledger.dynamo_table import definition
from router.sources import Sources
from yamlfile import Invalid

ANOTHER = policy(rules="  - {id: new, use: cpu}\n")
WRONG = policy(rules="  - {id: new, use: gpu}\n")
QUICK = Limits(connect_s=1.0, read_s=1.0, attempts=2)


def reader(appconfig, place=PLACE, **environment):
    api = Api("appconfigdata", None, appconfig.environment(**environment), QUICK)
    return Reader(place_of(place), api)


def paths(appconfig):
    return [path.partition("?")[0] for _, path, _, _ in appconfig.asked]


# -- the two operations ----------------------------------------------------------------------------


def test_a_reader_begins_a_session_and_is_told_only_what_is_new(appconfig):
    appconfig.content, appconfig.poll_s = b"one", 45
    asking = reader(appconfig)
    assert asking.latest() == b"one"
    assert asking.next_s == 45
    assert asking.latest() is None
    appconfig.content = b"two"
    assert asking.latest() == b"two"
    assert paths(appconfig) == ["/configurationsessions", *["/configuration"] * 3]


def test_ids_do_as_well_as_names(appconfig):
    appconfig.content = b"one"
    assert reader(appconfig, BY_ID).latest() == b"one"


@pytest.mark.parametrize("session", [{}, {"AWS_SESSION_TOKEN": "a/session+token="}], ids=str)
def test_every_call_is_signed_as_botocore_signs_it(appconfig, session):
    appconfig.content = b"one"
    asking = reader(appconfig, **session)
    asking.latest()
    asking.latest()
    assert len(appconfig.asked) == 3
    keys = Credentials("AKIDEXAMPLE", "secret", session.get("AWS_SESSION_TOKEN"))
    for method, path, headers, body in appconfig.asked:
        given = {name.lower(): value for name, value in headers.items()}
        signed = given["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
        request = AWSRequest(
            method, appconfig.url + path, {name: given[name] for name in signed}, body
        )
        request.context["timestamp"] = given["x-amz-date"]
        oracle = SigV4Auth(keys, "appconfig", "eu-west-1")
        text = oracle.string_to_sign(request, oracle.canonical_request(request))
        assert given["authorization"].endswith(oracle.signature(text, request))


@pytest.mark.parametrize("session", [True, False])
def test_an_expired_token_begins_a_new_session(appconfig, session):
    appconfig.content = b"one"
    asking = reader(appconfig)
    asking.latest()
    appconfig.tokens.clear()
    if session:
        appconfig.content = b"two"
    assert asking.latest() == appconfig.content  # what it had, told once more


def test_an_answer_that_is_lost_costs_a_session_and_nothing_else(appconfig):
    appconfig.content = b"one"
    asking = reader(appconfig)
    asking.latest()

    def lost():
        appconfig._latest(next(iter(appconfig.tokens)))  # the token is spent
        raise ConnectionAbortedError

    appconfig.faults.append(lost)
    assert asking.latest() == b"one"


@pytest.mark.parametrize("fault", ["close", 429, 500])
def test_what_passes_is_tried_again(appconfig, fault):
    appconfig.content = b"one"
    appconfig.faults.append(fault)
    assert reader(appconfig).latest() == b"one"


@pytest.mark.parametrize(
    ("faults", "code"), [([403], "AccessDeniedException"), ([500, 500], "InternalServerException")]
)
def test_what_stays_is_told_with_its_code(appconfig, faults, code):
    appconfig.faults.extend(faults)
    with pytest.raises(ApiError, match=code):
        reader(appconfig).latest()


def test_a_place_that_is_not_there_or_has_nothing_is_told(appconfig):
    with pytest.raises(ApiError, match="ResourceNotFoundException: no such configuration"):
        reader(appconfig, "appconfig:sluice-dev/dev/other").latest()
    with pytest.raises(ApiError, match="nothing was deployed there yet"):
        reader(appconfig).latest()


def test_an_answer_that_is_none_is_unreachable(appconfig):
    appconfig.faults.extend([lambda: (201, {}, b"{}")])
    with pytest.raises(ApiUnreachable, match="the session has no token"):
        reader(appconfig).latest()


@pytest.mark.parametrize("wait", ["", "soon", "0", "999999999"])
def test_a_wait_that_makes_no_sense_is_bounded(appconfig, wait):
    appconfig.content, appconfig.poll_s = b"one", wait
    asking = reader(appconfig)
    asking.latest()
    assert 1 <= asking.next_s <= 86_400


# -- into the state folder -------------------------------------------------------------------------


@pytest.fixture
def opened(appconfig, tmp_path):
    """A source over one fleet, and what loads its world."""
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", "http://127.0.0.1:1/v1")))

    def opened(**more):
        state = tmp_path / "state"
        source = Source(Place("sluice-dev", "dev", "policy"), state, appconfig.environment(), None)
        return source, Sources(state, tmp_path / "fleets.yaml", source.policy, **more)

    return opened


def test_the_last_good_policy_serves_where_appconfig_cannot_be_asked(appconfig, opened):
    source, sources = opened()
    appconfig.content = ANOTHER.encode()
    source.begin(sources.load)
    appconfig.faults.extend([403])
    world, polled = opened()[0].begin(sources.load)
    assert world.policy.rules[0].id == "new"
    assert polled.unasked == "AccessDeniedException: on request"


def test_without_a_last_good_policy_there_is_none(appconfig, opened):
    source, sources = opened()
    appconfig.faults.extend([403])
    with pytest.raises(NoPolicy, match=f"{PLACE}: no policy, and none from before: AccessDenied"):
        source.begin(sources.load)


def test_a_wrong_policy_at_start_leaves_the_last_good_one(appconfig, opened):
    source, sources = opened()
    appconfig.content = ANOTHER.encode()
    source.begin(sources.load)
    appconfig.content = WRONG.encode()
    again = opened()[0]
    world, polled = again.begin(sources.load)
    assert world.policy.rules[0].id == "new"
    assert "policy.json:6: rule new: unknown lane `gpu`" in polled.refused
    assert again.policy.read_text() == ANOTHER


def test_a_wrong_policy_at_the_first_start_is_refused_and_not_kept(appconfig, opened):
    source, sources = opened()
    appconfig.content = WRONG.encode()
    with pytest.raises(Invalid, match="unknown lane `gpu`"):
        source.begin(sources.load)
    assert not source.policy.exists()


@pytest.mark.parametrize("content", [WRONG.encode(), b"# \xb2\xdf\n", b"{", b"[]"], ids=repr)
def test_what_is_wrong_is_not_written_and_told_with_its_line(appconfig, opened, content):
    source, sources = opened()
    appconfig.content = ANOTHER.encode()
    world, _ = source.begin(sources.load)
    appconfig.content = content
    polled = source.poll(world.catalogue, sources.check)
    assert polled.refused.startswith(f"{PLACE}:")
    assert source.policy.read_text() == ANOTHER
    assert source.poll(world.catalogue, sources.check) == polled  # until something changes


def test_what_lambda_cannot_do_is_refused_before_it_is_written(appconfig, opened):
    source, sources = opened(frozen=True)
    appconfig.content = ANOTHER.encode()
    world, _ = source.begin(sources.load)
    shadow = (
        "budgets: [{id: s, match: {tenant: sluice-shadow}, usd: 1, per: day, when_spent: reject}]\n"
        "shadow: {share: 0.1, judge: m, budget: s}\n"
    )
    appconfig.content = (ANOTHER + shadow).encode()
    assert "`shadow` judges" in source.poll(world.catalogue, sources.check).refused
    assert source.policy.read_text() == ANOTHER


def test_a_policy_that_fits_other_fleets_is_adopted_once_they_are_there(
    appconfig, opened, tmp_path
):
    source, sources = opened()
    appconfig.content = ANOTHER.encode()
    world, _ = source.begin(sources.load)
    appconfig.content = WRONG.encode()
    source.poll(world.catalogue, sources.check)
    more = fleet("two", "http://127.0.0.1:1/v1", lane="gpu")
    text = catalogue(fleet("one", "http://127.0.0.1:1/v1"), more)
    (tmp_path / "fleets.yaml").write_text(text)
    fleets = files.catalogue(tmp_path / "fleets.yaml")
    assert source.poll(fleets, sources.check).refused is None
    assert source.policy.read_text() == WRONG


def test_a_state_folder_that_cannot_be_written_is_told(appconfig, opened):
    source, sources = opened()
    appconfig.content = ANOTHER.encode()
    world, _ = source.begin(sources.load)
    source.policy.unlink()
    source.policy.mkdir()
    appconfig.content = policy().encode()
    assert f"{source.policy}: " in source.poll(world.catalogue, sources.check).refused


def test_without_a_region_it_is_told_as_a_setting(appconfig, tmp_path):
    environment = appconfig.environment(AWS_REGION="", AWS_DEFAULT_REGION="")
    with pytest.raises(BadSetting, match=f"{PLACE}: no region: set AWS_REGION"):
        Source(place_of(PLACE), tmp_path, environment, None)


# -- a router --------------------------------------------------------------------------------------


@pytest.fixture
def served(start_router, upstream, appconfig, monkeypatch):
    """A router that takes its policy from AppConfig, and asks every second."""
    for name, value in appconfig.environment().items():
        monkeypatch.setenv(name, value)

    def start(*arguments):
        appconfig.content = policy().encode()
        fleets = catalogue(fleet("one", upstream.url))
        return start_router(fleets, None, "--policy", PLACE, *arguments)

    return start


def ready(router):
    return httpx.get(router.url + "/readyz").json()["policy"]


def test_a_published_policy_decides_the_next_requests(served, appconfig):
    router = served()
    before = ready(router)
    assert router.chat().headers["x-sluice-rule"] == "all"
    appconfig.content = ANOTHER.encode()
    wait_until(lambda: ready(router)["hash"] != before["hash"])
    assert router.chat().headers["x-sluice-rule"] == "new"
    assert not ready(router)["stale"]


def test_an_outage_is_said_once_and_its_end_too(served, appconfig):
    router = served()
    appconfig.faults.extend([403] * 4)
    wait_until(lambda: ready(router)["stale"])
    assert "sluice_policy_stale 1.0" in router.http.get("/metrics").text
    assert router.chat().status_code == 200
    wait_until(lambda: not ready(router)["stale"])
    assert not appconfig.faults  # asked more than once meanwhile
    assert router.log().count(f"{PLACE} can't be asked, policy test (") == 1
    assert router.log().count(f"{PLACE} answers again") == 1


def test_a_wrong_policy_is_refused_with_its_line_and_the_last_good_one_goes_on(served, appconfig):
    router = served()
    before = ready(router)
    appconfig.content = WRONG.encode()
    wait_until(lambda: ready(router)["stale"])
    asked = len(appconfig.asked)
    wait_until(lambda: len(appconfig.asked) > asked + 1)
    assert router.log().count(f"{PLACE}:6: rule new: unknown lane `gpu`") == 1
    assert ready(router)["hash"] == before["hash"]
    appconfig.content = policy().encode()  # rolled back
    wait_until(lambda: not ready(router)["stale"])


def test_files_and_appconfig_may_be_wrong_at_once_and_each_has_to_be_mended(
    served, appconfig, tmp_path
):
    router = served()
    good = (tmp_path / "fleets.yaml").read_text()
    (tmp_path / "fleets.yaml").write_text("version: 2\n")
    wait_until(lambda: "the change is refused" in router.log())
    appconfig.content = WRONG.encode()
    wait_until(lambda: "unknown lane `gpu`" in router.log())
    appconfig.content = policy().encode()
    asked = len(appconfig.asked)
    wait_until(lambda: len(appconfig.asked) > asked + 2)
    assert ready(router)["stale"]  # for the file
    (tmp_path / "fleets.yaml").write_text(good)
    wait_until(lambda: not ready(router)["stale"])


def test_a_slow_answer_of_appconfig_keeps_no_request_waiting(served, appconfig):
    router = served()
    held, under_way = threading.Event(), threading.Event()

    def slow():
        under_way.set()
        held.wait(START_S)
        return 500, {}, b""

    appconfig.faults.append(slow)
    assert under_way.wait(START_S)
    assert router.chat().status_code == 200
    assert not held.is_set()
    held.set()


def test_what_became_due_while_the_process_was_frozen_is_asked_after(served, appconfig):
    router = served()
    freeze(router.process.pid)
    asked = len(appconfig.asked)
    appconfig.content = ANOTHER.encode()
    time.sleep(2.5)  # more than what it waits between two polls
    assert len(appconfig.asked) <= asked + 1  # one was on its way
    thaw(router.process.pid)
    assert router.chat().status_code == 200
    wait_until(lambda: router.chat().headers["x-sluice-rule"] == "new")
    assert not ready(router)["stale"]


def test_of_several_workers_one_asks_and_all_adopt(served, appconfig):
    router = served("--workers", "2")
    begun = len(appconfig.asked)
    appconfig.content = ANOTHER.encode()
    wait_until(lambda: len(appconfig.asked) >= begun + 3)
    wait_until(lambda: all(ready(router)["hash"] != "" for _ in range(4)))
    wait_until(lambda: {router.chat().headers["x-sluice-rule"] for _ in range(8)} == {"new"})
    sessions = paths(appconfig).count("/configurationsessions")
    assert sessions == 2  # one at each start, and no other since


def test_a_start_from_the_state_folder_alone_says_stale(served, appconfig, tmp_path):
    state = tmp_path / "kept"
    state.mkdir()
    (state / "policy.json").write_text(ANOTHER)
    appconfig.faults.extend([403] * 2)
    router = served("--state", state, "--auth", "none")
    assert ready(router)["stale"]
    assert f"{PLACE} can't be asked, policy test (" in router.log()
    wait_until(lambda: not ready(router)["stale"])


@pytest.mark.parametrize(
    ("place", "fault", "code", "said"),
    [
        (PLACE, 403, 1, "no policy, and none from before: AccessDeniedException"),
        ("appconfig:sluice-dev/dev/other", None, 1, "ResourceNotFoundException"),
        ("appconfig:sluice-dev", None, 3, "is no place on AppConfig (valid: "),
        ("nowhere.yaml", None, 3, "does not exist"),
    ],
    ids=str,
)
def test_who_gets_no_policy_does_not_start(appconfig, tmp_path, place, fault, code, said):
    appconfig.faults.extend([fault] if fault else [])
    options = ["--state", tmp_path, "--port", "0", "--auth", "none", "--policy", place]
    environment = {**os.environ, **appconfig.environment()}
    ended = sluice("serve", *options, env=environment)
    assert ended.returncode == code
    assert said in " ".join(ended.stderr.split())


def test_one_that_doesnt_answer_ends_a_start_before_lambda_does(appconfig, tmp_path):
    appconfig.faults.extend([lambda: time.sleep(600)] * 2)
    options = ["--state", tmp_path, "--port", "0", "--auth", "none", "--policy", PLACE]
    ended = sluice("serve", *options, env={**os.environ, **appconfig.environment()})
    assert ended.returncode == 1
    assert "no answer within 2 s" in ended.stderr


# -- prices ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dynamo():
    with dynamo_server() as address:
        yield address


@pytest.fixture
def table(dynamo, appconfig):
    api = Api("dynamodb", "eu-west-1", appconfig.environment(AWS_ENDPOINT_URL=dynamo))
    name = f"t{time.monotonic_ns()}"
    api.call("CreateTable", definition(name))
    yield api, name
    api.close()


def listed(usd):
    row = {"instance": "c8g.xlarge", "region": "us-east-1", "purchase": "on_demand"}
    row |= {"usd_per_hour": usd, "as_of": "2026-11-20", "source": "S", "mark": "stated"}
    return json.dumps({"version": 1, "currency": "USD", "prices": [row]})


def put(table, text, version):
    api, name = table
    item = {"pk": "CONFIG", "sk": "prices", "text": text, "version": version}
    api.call("PutItem", {"TableName": name, "Item": {k: {"S": v} for k, v in item.items()}})


@pytest.fixture
def priced(appconfig, dynamo, table, tmp_path):
    """A source with a table, whose policy is good, and its `poll`."""
    (tmp_path / "fleets.yaml").write_text(catalogue(fleet("one", "http://127.0.0.1:1/v1")))
    appconfig.content = policy().encode()
    state, own = tmp_path / "state", {"AWS_ENDPOINT_URL_DYNAMODB": dynamo}
    source = Source(place_of(PLACE), state, appconfig.environment(**own), table[1])
    sources = Sources(state, tmp_path / "fleets.yaml", source.policy)

    def begin():
        return source.begin(sources.load)

    def poll():
        return source.poll(sources.load().catalogue, sources.check)

    source.begun, source.asked, source.own = begin, poll, files.own_prices(state)
    return source


def test_prices_that_a_worker_refreshed_are_there_at_start_and_when_their_version_changes(
    priced, table
):
    put(table, listed(0.2), "one")
    world, polled = priced.begun()
    assert world.fleets[0].usd_per_hour == 0.2
    assert polled.prices is None
    put(table, listed(0.3), "one")
    assert priced.asked().prices is None
    assert priced.own.read_text() == listed(0.2)
    put(table, listed(0.3), "two")
    assert priced.asked().prices is None
    assert priced.own.read_text() == listed(0.3)


def test_without_refreshed_prices_all_is_as_it_was(priced):
    assert priced.begun()[1].prices is None
    assert not priced.own.exists()


def test_a_broken_text_keeps_the_old_prices_and_is_told_until_it_is_mended(priced, table):
    put(table, listed(0.2), "one")
    priced.begun()
    put(table, "version: 1\nprices: [1]\n", "two")
    said = priced.asked().prices
    assert f"dynamodb:{table[1]} CONFIG prices:2: " in said
    assert priced.asked().prices == said
    assert priced.own.read_text() == listed(0.2)
    put(table, listed(0.4), "three")
    assert priced.asked().prices is None


def test_an_item_of_another_form_or_a_table_that_is_gone_is_told(priced, table):
    priced.begun()
    api, name = table
    item = {"pk": {"S": "CONFIG"}, "sk": {"S": "prices"}, "text": {"N": "1"}}
    api.call("PutItem", {"TableName": name, "Item": item})
    assert (
        priced.asked().prices == f"the item CONFIG prices of `{name}` has no `text` and `version`"
    )
    api.call("DeleteTable", {"TableName": name})
    assert priced.asked().prices.startswith("they can't be asked for: ResourceNotFound")
    assert priced.asked().unasked is None  # the policy is another matter


def test_what_the_user_wrote_of_other_prices_and_of_pools_stays(priced, table):
    pool = "{id: plan, usd_per_hour: 1, families: [p5], regions: [us-east-1]}"
    row = "{instance: p5.48xlarge, region: us-east-1, purchase: savings_plan, usd_per_hour: 50, "
    row += "as_of: 2026-01-01, source: S, mark: stated}"
    priced.own.parent.mkdir()
    priced.own.write_text(f"version: 1\ncurrency: USD\nprices:\n  - {row}\npools:\n  - {pool}\n")
    put(table, listed(0.2), "one")
    world, polled = priced.begun()
    assert polled.prices is None
    book = world.catalogue.price_book
    assert book.find("p5.48xlarge", "us-east-1", "savings_plan").usd_per_hour == 50
    assert book.find("c8g.xlarge", "us-east-1", "on_demand").usd_per_hour == 0.2
    assert "plan" in [pool.id for pool in book.pools]


def test_own_prices_that_are_wrong_are_told_and_left(priced, table):
    priced.begun()
    priced.own.write_text("version: 2\n")
    put(table, listed(0.2), "one")
    fleets = files.catalogue(None)
    assert str(priced.own) in priced.poll(fleets, lambda *_: None).prices
    assert priced.own.read_text() == "version: 2\n"
