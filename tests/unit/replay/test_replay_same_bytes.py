"""The same input gives the same bytes, whatever the process."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
CODE = """
import hashlib, random, sys
sys.path.insert(0, sys.argv[1])
from replay_worlds import FLEETS, POLICIES, frozen, kind, trace_of, world_of
from router.replay.outcome import Settings
from router.replay.run import replay
draw, now_s, rows = random.Random(5), 0.0, []
for _ in range(400):
    now_s += draw.expovariate(1.5)
    of = {"kind": draw.randrange(2), "expected": 60}
    rows.append((now_s, draw.randrange(1, 900), draw.randrange(1, 200), of))
budget = 'budgets:\\n  - {id: b, match: {team: "*"}, usd: 0.1, per: hour, when_spent: reject}\\n'
world = world_of(POLICIES[0] + budget)
kinds = kind(), kind(tier="heavy", team="ads", service_class="interactive")
out = replay(world, trace_of(rows, kinds), Settings(seed=3, look_s=20.0))
print(hashlib.sha256(frozen(out)).hexdigest(), len(out.refusals), out.relaxed)
"""


def test_the_same_input_gives_the_same_bytes_in_another_process():
    found = {
        subprocess.run(
            [sys.executable, "-c", CODE, str(TESTS)],
            check=True,
            capture_output=True,
            text=True,
            cwd=TESTS.parent,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "12345")
    }
    assert len(found) == 1
    assert found.pop()[64] == " "
