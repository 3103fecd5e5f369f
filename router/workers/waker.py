"""Wakes the fleets that routers ask for, and lets go of them again.

A router that missed a sleeping fleet writes an item (router.wake_items). As the table's stream has
it, the fleet's scalable target gets a least capacity of one, and its service or component, where
none is wanted, one replica. Each minute those whose time is over are let go of: the least capacity
is the catalogue's again, and what scales the fleet decides by the requests that there are. Of a
fleet on EKS only the item goes, which is what KEDA counts.

A fleet on ECS of which nothing answers when its time is over can't start: nothing would scale it
in, for its `InUse` has no value, and ECS would start its tasks anew for ever. None is wanted of it
any more, and a later request may ask again.

Everything may come twice. A least capacity that somebody raised, above one or before the wake-up,
is never lowered: only from exactly one, which is what is set here, it goes back; a one that is set
by hand while the fleet is kept awake can't be told from ours. A most capacity of zero is somebody's
word that the fleet shall not run: it is left asleep.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

from backends import files
from backends.catalogue import Fleet
from router import lane_names, load_items, wake_items
from router.ledger.dynamo_table import Item, Table, plain
from router.ledger.port import LedgerUnavailable
from router.runtime import LOG
from router.wake_items import WakeItem
from router.workers.aws_errors import code_of
from router.workers.endpoints import NoSuchService, services_of
from router.workers.kit import Answer, Event, Kit, opened
from router.workers.opening import ledger_of

AWAKE: Final = 1  # the least capacity of a fleet that is kept awake
WRITTEN: Final = frozenset({"INSERT", "MODIFY"})

LOOKED_S: Final = 120  # an observer's look that is older says nothing of now
SILENT: Final = "nothing of it answers, so that it is put to sleep: see its log and ECS's events"

Client = Callable[[str, str], Any]
"""Returns boto3's client of a service in a region."""


class CantWake(Exception):  # noqa: N818  (what it says)
    """Why a fleet could not be woken, or let go of."""


@dataclass(frozen=True, slots=True)
class Waker:
    """`fleets`: those that the stage makes, by id. `failures`: what boto3's clients raise. `now`:
    the wall clock, in seconds since 1970.
    """

    table: Table
    stage: str
    fleets: Mapping[str, Fleet]
    client: Client
    failures: tuple[type[Exception], ...]
    now: Callable[[], float] = time.time

    def asked(self, item: WakeItem) -> bool:
        """Wake the fleet; return whether it was one to wake. Raises CantWake."""
        fleet = self.fleets.get(item.fleet)
        if fleet is None:
            LOG.error("fleet %s is asked to wake, and none of the stage's", item.fleet)
            return False
        if item.until_s <= self.now():
            LOG.warning("fleet %s was asked to wake too long ago", item.fleet)
            return False
        with self._told():
            self._wake(fleet)
        return True

    def let_go(self) -> Iterator[tuple[str, str | None]]:
        """Let go of the fleets whose time is over; yield each, and what went wrong, or None.

        Raises LedgerUnavailable.
        """
        now_s = self.now()
        for item in wake_items.read(self.table):
            if item.until_s > now_s:
                continue
            try:
                answers = self._let_go(item)
            except CantWake as exc:
                yield item.fleet, f"it can't be let go of: {exc}"
            else:
                yield item.fleet, None if answers else SILENT

    def _let_go(self, item: WakeItem) -> bool:
        """Return False of a fleet that had to be put to sleep, for nothing of it answers."""
        answers, fleet = True, self.fleets.get(item.fleet)
        if fleet is None:
            LOG.warning("fleet %s was asked to wake, and is none of the stage's", item.fleet)
        else:
            with self._told():
                answers = not (self._lower(fleet) and self._put_to_sleep(fleet))
        if not wake_items.delete(self.table, item) and fleet is not None:
            with self._told():  # it was asked for anew meanwhile
                self._wake(fleet)
        return answers

    def _wake(self, fleet: Fleet) -> None:
        target = self._target(fleet)
        if target is None:
            return
        if target["MaxCapacity"] < AWAKE:
            LOG.warning("fleet %s is left asleep: its most capacity is 0", fleet.id)
            return
        if target["MinCapacity"] < AWAKE:
            self._register(fleet, AWAKE)
        if fleet.sagemaker is None:
            self._want_task(fleet)
        elif fleet.sagemaker.inference_component is not None:
            self._want_copy(fleet, fleet.sagemaker.inference_component)

    def _lower(self, fleet: Fleet) -> bool:
        """Return whether none of it need be there any more."""
        target = self._target(fleet)
        if target is None or target["MinCapacity"] > AWAKE or fleet.replicas.min:
            return False
        if target["MinCapacity"] == AWAKE:
            self._register(fleet, fleet.replicas.min)
        return True

    def _put_to_sleep(self, fleet: Fleet) -> bool:
        """Want no task of a fleet on ECS that nothing answers of; return whether some were wanted.

        Twice as good as once: a service that can't be told now is told in the next minute.
        """
        if fleet.sagemaker is not None or not self._is_silent(fleet):
            return False
        ecs = self.client("ecs", fleet.region)
        names = lane_names.cluster(self.stage), lane_names.service(self.stage, fleet.id)
        if not services_of(ecs, *names)[0]["desiredCount"]:
            return False
        ecs.update_service(cluster=names[0], service=names[1], desiredCount=0)
        return True

    def _is_silent(self, fleet: Fleet) -> bool:
        """Return whether the observer has just looked and none of its replicas answered."""
        for item in load_items.read(self.table):
            if item.fleet == fleet.id and self.now() - item.at_ms / 1000 < LOOKED_S:
                states = {each.state for each in item.seen}
                return bool(states) and states <= {"down", "loading"}
        return False

    def _target(self, fleet: Fleet) -> Mapping[str, Any] | None:
        """Return the fleet's scalable target; None: it has none, KEDA scales it."""
        names = lane_names.scalable(self.stage, fleet)
        if names is None:
            return None
        namespace, resource, dimension = names
        found: Sequence[Mapping[str, Any]] = self._scaling(fleet).describe_scalable_targets(
            ServiceNamespace=namespace, ResourceIds=[resource], ScalableDimension=dimension
        )["ScalableTargets"]
        if not found:
            raise CantWake("it has no scalable target")
        return found[0]

    def _register(self, fleet: Fleet, least: int) -> None:
        """Change the least capacity alone: what isn't named stays as it is."""
        names = lane_names.scalable(self.stage, fleet)
        assert names is not None, "its target was described"
        self._scaling(fleet).register_scalable_target(
            ServiceNamespace=names[0],
            ResourceId=names[1],
            ScalableDimension=names[2],
            MinCapacity=least,
        )

    def _want_task(self, fleet: Fleet) -> None:
        ecs = self.client("ecs", fleet.region)
        names = lane_names.cluster(self.stage), lane_names.service(self.stage, fleet.id)
        if not services_of(ecs, *names)[0]["desiredCount"]:
            ecs.update_service(cluster=names[0], service=names[1], desiredCount=AWAKE)

    def _want_copy(self, fleet: Fleet, component: str) -> None:
        sagemaker = self.client("sagemaker", fleet.region)
        found = sagemaker.describe_inference_component(InferenceComponentName=component)
        if not found["RuntimeConfig"]["DesiredCopyCount"]:
            sagemaker.update_inference_component_runtime_config(
                InferenceComponentName=component, DesiredRuntimeConfig={"CopyCount": AWAKE}
            )

    def _scaling(self, fleet: Fleet) -> Any:  # noqa: ANN401 (boto3 makes its classes as it goes)
        return self.client("application-autoscaling", fleet.region)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except NoSuchService:
            raise CantWake("ECS has no such service") from None
        except self.failures as exc:
            raise CantWake(code_of(exc)) from None


@functools.cache
def _open() -> tuple[Kit, Waker]:
    import boto3  # noqa: PLC0415  (0.2 s, and only in the function)
    from botocore.config import Config  # noqa: PLC0415  (as above)
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (as above)

    kit = opened("waker")
    quick = Config(
        connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
    )
    session = boto3.Session()

    @functools.cache
    def client(service: Any, region: str) -> Any:  # noqa: ANN401 (boto3 makes its classes as it goes)
        return session.client(service, region_name=region, config=quick)

    catalogue = files.catalogue(kit.settings.fleets)
    made = {fleet.id: fleet for fleet in catalogue.fleets if fleet.runs is not None}
    table, failures = ledger_of(kit.settings).table, (BotoCoreError, ClientError)
    return kit, Waker(table, kit.settings.stage, made, client, failures)


def handler(event: Event, context: Any) -> Answer | PartialItemFailureResponse:  # noqa: ANN401 (Lambda's)
    """Take records of the table's stream, or, with none, a run of the schedule."""
    kit, waker = _open()
    with kit.told():
        if "Records" in event:
            return _follow(kit, waker, event, context)
        return _over(kit, waker)


def _follow(kit: Kit, waker: Waker, event: Event, context: Any) -> PartialItemFailureResponse:  # noqa: ANN401 (Lambda's)
    def wake(record: Item) -> None:
        if record["eventName"] not in WRITTEN:
            return
        name = record["dynamodb"]["Keys"]["sk"]["S"]
        try:
            item = wake_items.item_of(plain(record["dynamodb"]["NewImage"]))
            woken = waker.asked(item)
        except CantWake as exc:
            kit.count("WakeFailures", 1)
            kit.log.error("fleet %s can't be woken: %s", name, exc)  # noqa: TRY400  (one line)
            raise
        except (KeyError, TypeError, ValueError) as exc:
            kit.count("WakeFailures", 1)
            kit.log.error("the wake item of %s can't be read: %s", name, type(exc).__name__)  # noqa: TRY400  (one line)
            raise
        if woken:
            kit.count("WakeUps", 1)
            kit.log.warning("fleet %s is woken (requests it missed: %d)", name, item.requests)

    processor = BatchProcessor(
        event_type=EventType.DynamoDBStreams, raise_on_entire_batch_failure=False
    )
    return process_partial_response(event, wake, processor, context)


def _over(kit: Kit, waker: Waker) -> Answer:
    let_go, failed = 0, 0
    try:
        for fleet, why in waker.let_go():
            if why is None:
                let_go += 1
                kit.log.info("fleet %s is no longer kept awake", fleet)
            else:
                failed += 1
                kit.log.error("fleet %s, whose time is over: %s", fleet, why)
    except LedgerUnavailable as exc:
        failed += 1
        kit.log.error("who is to be let go of can't be read: %s", exc)  # noqa: TRY400  (one line)
    if failed:
        kit.count("WakeFailures", failed)
    return {"let_go": let_go, "failed": failed}
