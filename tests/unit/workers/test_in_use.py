from types import SimpleNamespace

import pytest

from backends.base import Seen
from router.load_items import LoadItem
from router.workers.in_use import in_use


def fleet(on="ecs", least=0, most=4):
    runs = None if on is None else SimpleNamespace(on=on)
    return SimpleNamespace(
        runs=runs, replicas=SimpleNamespace(min=least, max=most, concurrency_each=8)
    )


def item(*seen, requests=0, replicas=1):
    return LoadItem("a", 0, seen, requests, replicas)


UP = Seen("up", running=5, waiting=1, others=6)


@pytest.mark.parametrize(
    ("seen", "percent"),
    [
        (item(UP), 75.0),  # the engine knows of others' requests too
        (item(UP, requests=9), 75.0),  # those that left it are none of its
        (item(Seen("up"), requests=4), 50.0),
        (item(UP, requests=8, replicas=2), 50.0),  # one of two has spoken
        (item(Seen("up", running=12, waiting=0), replicas=1), 150.0),
        (item(Seen("up"), requests=0), 0.0),
        (item(Seen("up"), requests=None), None),
        (item(Seen("loading"), requests=3), None),
        (item(Seen("down"), replicas=0), None),
        (item(Seen("unknown"), requests=3), None),
        (item(UP, replicas=None), None),
        (item(requests=3), None),
    ],
)
def test_it_is_what_runs_or_waits_of_what_the_ready_replicas_take(seen, percent):
    assert in_use(fleet(), seen) == percent


@pytest.mark.parametrize(
    "other", [fleet(None), fleet("eks"), fleet("sagemaker"), fleet(least=2, most=2)]
)
def test_it_is_written_only_where_it_scales_something(other):
    assert in_use(other, item(UP)) is None
