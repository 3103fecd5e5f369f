"""How full a fleet is: the metric by which the services of ECS are scaled. Pure.

SageMaker counts the requests of its endpoints itself, and KEDA asks vLLM: theirs are not written,
nor is that of a fleet whose replicas are as many at the most as at the least.
"""

from backends.catalogue import Fleet
from router.load_items import LoadItem


def in_use(fleet: Fleet, item: LoadItem) -> float | None:
    """Return the requests that run or wait, in percent of the streams that the ready replicas take;
    None: the metric is not this fleet's, no replica is ready, or how many requests is unknown.

    One replica says it itself, the requests of others among them. Behind one address only one of
    several speaks: there the ledger's open requests count, which are ours alone.
    """
    replicas, scale = item.replicas, fleet.replicas
    if fleet.runs is None or fleet.runs.on != "ecs" or scale.max <= scale.min:
        return None
    up = [each for each in item.seen if each.state == "up"]
    if not replicas or not up:
        return None
    requests = item.requests
    if replicas == 1 and up[0].running is not None:
        requests = up[0].running + (up[0].waiting or 0)
    return None if requests is None else 100 * requests / (replicas * scale.concurrency_each)
