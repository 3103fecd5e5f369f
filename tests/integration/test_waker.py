"""The waker without Lambda: table, services and their scaling are moto's, SageMaker botocore's own
shapes, the clock the test's.
"""

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.stub import Stubber
from wake_support import COMPONENT, SCALED, SERVICE, STAGE, fleets_of, make_service, state_of

from backends import files
from backends.base import Seen
from router import load_items, wake_items
from router.ledger.dynamo_table import Table
from router.load_items import LoadItem
from router.wake_items import WakeItem
from router.workers.waker import SILENT, CantWake, Waker

NOW = 1_795_255_200
KEYS = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}


class Aws:
    """Clients of moto's services; those of a test go before them."""

    def __init__(self, address):
        self._address, self.of = address, {}

    def __call__(self, service, region):
        assert region == "us-east-1"
        if service not in self.of:
            self.of[service] = boto3.client(service, endpoint_url=self._address, **KEYS)
        return self.of[service]


@pytest.fixture
def aws(address):
    found = Aws(address)
    clients = found("ecs", "us-east-1"), found("application-autoscaling", "us-east-1")
    remove = make_service(*clients)
    yield found
    remove()


@pytest.fixture
def fleets(tmp_path):
    path = tmp_path / "fleets.yaml"
    path.write_text(fleets_of("http://127.0.0.1:9/v1"))
    return {fleet.id: fleet for fleet in files.catalogue(path).fleets if fleet.runs is not None}


@pytest.fixture
def waker(ledger, fleets, aws):
    clock = lambda: NOW  # noqa: E731  (the test's)
    return Waker(ledger.table, STAGE, fleets, aws, (BotoCoreError, ClientError), clock)


def state(aws):
    return state_of(aws("ecs", "us-east-1"), aws("application-autoscaling", "us-east-1"))


def set_least(aws, least):
    scaling = aws("application-autoscaling", "us-east-1")
    scaling.register_scalable_target(**SCALED, MinCapacity=least)


def asked(fleet="lane", until_s=NOW + 900):
    return WakeItem(fleet, until_s - 900, until_s, 1)


def over(waker, item=None):
    """Write an item whose time is over, and let go of it."""
    item = item or asked(until_s=NOW)
    wake_items.ask(waker.table, item, 0)
    return list(waker.let_go())


def test_a_fleet_is_woken_and_twice_is_as_good_as_once(waker, aws):
    assert state(aws) == {"least": 0, "most": 4, "wanted": 0}
    assert waker.asked(asked())
    assert waker.asked(asked())
    assert state(aws) == {"least": 1, "most": 4, "wanted": 1}


def test_what_runs_already_is_not_made_smaller(waker, aws):
    aws.of["ecs"].update_service(cluster=SERVICE[0], service=SERVICE[1], desiredCount=3)
    set_least(aws, 2)
    waker.asked(asked())
    assert state(aws) == {"least": 2, "most": 4, "wanted": 3}


def test_a_fleet_whose_most_is_none_is_left_asleep(waker, aws, caplog):
    scaling = aws.of["application-autoscaling"]
    scaling.register_scalable_target(**SCALED, MinCapacity=0, MaxCapacity=0)
    waker.asked(asked())
    assert state(aws) == {"least": 0, "most": 0, "wanted": 0}
    assert "fleet lane is left asleep: its most capacity is 0" in caplog.text


def test_a_fleet_that_the_stage_does_not_make_is_told_of_and_passed_over(waker, aws, caplog):
    assert not waker.asked(asked("theirs"))
    assert "fleet theirs is asked to wake, and none of the stage's" in caplog.text
    assert over(waker, asked("theirs", NOW)) == [("theirs", None)]
    assert wake_items.read(waker.table) == []
    assert state(aws)["least"] == 0


def test_an_item_that_comes_when_its_time_is_over_wakes_nobody(waker, aws):
    assert not waker.asked(asked(until_s=NOW))
    assert state(aws)["wanted"] == 0


def test_on_eks_the_item_alone_says_it(waker, aws):
    aws.of.clear()
    assert waker.asked(asked("on-eks"))
    assert over(waker, asked("on-eks", NOW)) == [("on-eks", None)]
    assert aws.of == {}
    assert wake_items.read(waker.table) == []


# -- letting go ------------------------------------------------------------------------------------


def test_a_fleet_whose_time_is_over_may_sleep_again_and_what_scales_it_decides(waker, aws):
    waker.asked(asked())
    assert over(waker) == [("lane", None)]
    assert state(aws) == {"least": 0, "most": 4, "wanted": 1}
    assert wake_items.read(waker.table) == []


def looked(waker, *states, age_s=10, fleet="lane"):
    seen = tuple(map(Seen, states))
    item = LoadItem(fleet, (NOW - age_s) * 1000, seen, 0, len(states))
    load_items.write(waker.table, [item])


@pytest.mark.parametrize("states", [("loading",), ("down",), ("down", "loading")])
def test_a_fleet_of_which_nothing_answers_when_its_time_is_over_is_put_to_sleep(waker, aws, states):
    waker.asked(asked())
    looked(waker, *states)
    assert over(waker) == [("lane", SILENT)]
    assert state(aws) == {"least": 0, "most": 4, "wanted": 0}
    assert wake_items.read(waker.table) == []


@pytest.mark.parametrize(
    "seen",
    [
        {"states": ("up",)},
        {"states": ("up", "down")},
        {"states": ("unknown",)},
        {"states": ()},  # its engine can't be asked
        {"states": ("down",), "age_s": 121},
        {"states": ("down",), "fleet": "on-eks"},
    ],
)
def test_a_fleet_that_answers_or_of_which_nobody_knows_keeps_its_tasks(waker, aws, seen):
    waker.asked(asked())
    looked(waker, *seen.pop("states"), **seen)
    assert over(waker) == [("lane", None)]
    assert state(aws) == {"least": 0, "most": 4, "wanted": 1}


def test_a_fleet_that_somebody_keeps_at_two_is_not_put_to_sleep(waker, aws):
    waker.asked(asked())
    set_least(aws, 2)
    looked(waker, "down")
    assert over(waker) == [("lane", None)]
    assert state(aws)["wanted"] == 1


def test_a_fleet_that_sleeps_already_is_let_go_of_quietly(waker, aws):
    looked(waker, "down")
    assert over(waker) == [("lane", None)]
    assert state(aws)["wanted"] == 0


def test_a_fleet_that_could_not_be_put_to_sleep_is_told_again_in_the_next_minute(waker, aws):
    waker.asked(asked())
    looked(waker, "down")
    real = aws.of["ecs"]
    aws.of["ecs"] = boto3.client("ecs", endpoint_url="http://127.0.0.1:9", **KEYS)
    assert over(waker) == [("lane", "it can't be let go of: EndpointConnectionError")]
    assert state_of(real, aws.of["application-autoscaling"])["least"] == 0
    aws.of["ecs"] = real
    assert list(waker.let_go()) == [("lane", SILENT)]
    assert state(aws)["wanted"] == 0


def test_a_fleet_whose_time_is_not_over_is_kept_awake(waker, aws):
    waker.asked(asked())
    assert over(waker, asked(until_s=NOW + 1)) == []
    assert state(aws)["least"] == 1
    assert len(wake_items.read(waker.table)) == 1


def test_a_least_that_somebody_raised_stays(waker, aws):
    waker.asked(asked())
    set_least(aws, 2)
    assert over(waker) == [("lane", None)]
    assert state(aws)["least"] == 2


def test_what_was_asked_for_anew_meanwhile_is_awake_again(waker, aws):
    class Late:
        """Another router asks just before the item is deleted."""

        def __init__(self, client):
            self._client = client

        def call(self, operation, body):
            if operation == "DeleteItem":
                wake_items.ask(waker.table, asked(until_s=NOW + 900), 0)
            return self._client.call(operation, body)

    waker.asked(asked())
    wake_items.ask(waker.table, asked(until_s=NOW), 0)
    late = Table(Late(waker.table._client), waker.table.name)
    again = Waker(late, STAGE, waker.fleets, waker.client, waker.failures, waker.now)
    assert list(again.let_go()) == [("lane", None)]
    assert state(aws) == {"least": 1, "most": 4, "wanted": 1}
    assert [each.until_s for each in wake_items.read(waker.table)] == [NOW + 900]


# -- what can go wrong -----------------------------------------------------------------------------


def test_a_service_that_is_gone_is_told_by_that(waker, aws):
    waker.asked(asked())
    aws.of["ecs"].delete_service(cluster=SERVICE[0], service=SERVICE[1], force=True)
    with pytest.raises(CantWake, match=r"^ECS has no such service$"):
        waker.asked(asked())


def test_a_fleet_without_a_scalable_target_is_told_by_that(waker, aws):
    aws.of["application-autoscaling"].deregister_scalable_target(**SCALED)
    with pytest.raises(CantWake, match="it has no scalable target"):
        waker.asked(asked())
    aws.of["application-autoscaling"].register_scalable_target(
        **SCALED, MinCapacity=0, MaxCapacity=4
    )


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("describe_scalable_targets", "ThrottlingException"),
        ("register_scalable_target", "AccessDeniedException"),
        ("update_service", "AccessDeniedException"),
    ],
)
def test_what_aws_refuses_is_told_by_its_code_and_comes_again(waker, aws, operation, code):
    name = "ecs" if operation == "update_service" else "application-autoscaling"
    real = aws.of[name]

    class Refuses:
        def __getattr__(self, called):
            return self._refuse if called == operation else getattr(real, called)

        def _refuse(self, **_):
            raise ClientError({"Error": {"Code": code, "Message": "not shown"}}, operation)

    aws.of[name] = Refuses()
    with pytest.raises(CantWake, match=f"^{code}$"):
        waker.asked(asked())
    aws.of[name] = real
    assert waker.asked(asked())
    assert state(aws)["wanted"] == 1


def test_a_fleet_that_can_not_be_let_go_of_is_tried_again_and_holds_up_no_other(waker, aws):
    waker.asked(asked())
    wake_items.ask(waker.table, asked("on-eks", NOW), 0)
    real = aws.of["application-autoscaling"]
    aws.of["application-autoscaling"] = boto3.client(
        "application-autoscaling", endpoint_url="http://127.0.0.1:9", **KEYS
    )
    assert over(waker) == [
        ("lane", "it can't be let go of: EndpointConnectionError"),
        ("on-eks", None),
    ]
    assert [each.fleet for each in wake_items.read(waker.table)] == ["lane"]
    aws.of["application-autoscaling"] = real
    assert list(waker.let_go()) == [("lane", None)]
    assert state(aws)["least"] == 0


# -- SageMaker, which moto doesn't have ------------------------------------------------------------


@pytest.fixture
def stubs(aws):
    clients = [boto3.client(n, **KEYS) for n in ("application-autoscaling", "sagemaker")]
    stubbers = [Stubber(client) for client in clients]
    for client, stubber in zip(clients, stubbers, strict=True):
        aws.of[client.meta.service_model.service_name] = client
        stubber.activate()
    yield stubbers
    for stubber in stubbers:
        stubber.assert_no_pending_responses()


TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"inference-component/{COMPONENT}",
    "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
}


def described(scaling, least, most=2):
    asks = {**TARGET, "ResourceIds": [TARGET["ResourceId"]]}
    del asks["ResourceId"]
    found = {**TARGET, "MinCapacity": least, "MaxCapacity": most, "CreationTime": 0,
             "RoleARN": "arn:aws:iam::1:role/r"}  # fmt: skip
    scaling.add_response("describe_scalable_targets", {"ScalableTargets": [found]}, asks)


def component(sagemaker, wanted):
    arn = "arn:aws:sagemaker:us-east-1:1"
    answer = {"InferenceComponentName": COMPONENT, "EndpointName": "ours", "CreationTime": 0,
              "InferenceComponentArn": f"{arn}:inference-component/{COMPONENT}",
              "EndpointArn": f"{arn}:endpoint/ours-of-the-stage", "LastModifiedTime": 0,
              "RuntimeConfig": {"CurrentCopyCount": 0, "DesiredCopyCount": wanted}}  # fmt: skip
    asks = {"InferenceComponentName": COMPONENT}
    sagemaker.add_response("describe_inference_component", answer, asks)


def test_an_inference_component_that_none_is_wanted_of_gets_one_copy(waker, stubs):
    scaling, sagemaker = stubs
    described(scaling, 0)
    scaling.add_response("register_scalable_target", {}, {**TARGET, "MinCapacity": 1})
    component(sagemaker, 0)
    arn = f"arn:aws:sagemaker:us-east-1:1:inference-component/{COMPONENT}"
    wanted = {"InferenceComponentName": COMPONENT, "DesiredRuntimeConfig": {"CopyCount": 1}}
    sagemaker.add_response(
        "update_inference_component_runtime_config", {"InferenceComponentArn": arn}, wanted
    )
    assert waker.asked(asked("component"))


def test_a_component_that_wakes_already_is_let_be(waker, stubs):
    described(stubs[0], 1)
    component(stubs[1], 1)
    assert waker.asked(asked("component"))


def test_a_component_is_let_go_of_as_a_service_is(waker, stubs):
    described(stubs[0], 1)
    stubs[0].add_response("register_scalable_target", {}, {**TARGET, "MinCapacity": 0})
    assert over(waker, asked("component", NOW)) == [("component", None)]
