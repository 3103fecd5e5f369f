"""Who went where, as bands: what is laid out, before it is drawn."""

import pytest

from router.cli.replay.sankey import MOST_NODES, OTHERS, merged, placed
from router.replay.summary import Flow


def flows(tasks):
    return [Flow(f"task{i}", "simple", "all", "cpu", i + 1) for i in range(tasks)]


def test_no_request_is_lost_where_small_names_become_one():
    ways = merged(flows(30))
    assert sum(ways.values()) == sum(flow.requests for flow in flows(30))
    tasks = {task for task, _, _ in ways}
    assert len(tasks) == MOST_NODES
    assert OTHERS in tasks
    assert "task29 (simple)" in tasks  # the largest keeps its name


def test_names_are_kept_where_they_have_room():
    assert OTHERS not in {task for task, _, _ in merged(flows(MOST_NODES))}


def test_bars_of_a_column_fill_it_the_largest_on_top():
    nodes = placed(merged(flows(4)))
    tasks = sorted((n for n in nodes.values() if n.column == 0), key=lambda node: node.top)
    assert [node.requests for node in tasks] == [4, 3, 2, 1]
    assert tasks[0].top == 0
    assert tasks[-1].top + tasks[-1].height == pytest.approx(1)
    assert tasks[0].height == pytest.approx(4 * tasks[-1].height)
