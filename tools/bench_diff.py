"""Times `sluice policy diff` over 28,000 requests: two replays and the report, in CPU seconds.

    .venv/bin/python tools/bench_diff.py [OLD NEW]

The trace is made: Poisson, 8 requests a second for nearly an hour. Every run has its own seed. The
bound (5 s of CPU) is the one that the policy bench promises.
"""

import sys
import time
from pathlib import Path

from backends import files
from router.cli.policy.diff_replays import Asked
from router.cli.policy.diff_text import text
from router.compare.comparison import Side, compare
from router.compare.markdown import markdown
from router.compare.report import Named, Report
from router.compare.words import words
from router.replay.outcome import Settings
from router.replay.run import replay
from router.sources import policy
from router.world import world

EXAMPLES = Path("policies/examples")
TRACE = "gen:poisson?rate=8&seconds=3500"
RUNS = 3
BOUND_S = 5.0


def main(old: str, new: str) -> None:
    catalogue = files.catalogue(None)
    worlds = [world(policy(Path(path), catalogue), catalogue) for path in (old, new)]
    for seed in range(RUNS):
        trace = Asked(TRACE, seed, None, 0.6).open(seed)
        settings = Settings(seed=seed)
        before = time.process_time()
        sides = [Side(each.policy, replay(each, trace, settings)) for each in worlds]
        replayed = time.process_time()
        found = compare(trace, *sides, seed=seed, look_s=settings.look_s)
        names = [
            Named(path, each.policy.name, each.policy.hash)
            for path, each in zip((old, new), worlds, strict=True)
        ]
        said = words(worlds[0].policy.compiled, worlds[1].policy.compiled)
        report = Report(*names, said, found)
        size = len(text(report)) + len(markdown(report))
        done = time.process_time()
        print(
            f"{len(trace):,} requests: two replays {replayed - before:.2f} s of CPU, comparison "
            f"and reports ({size:,} characters) {done - replayed:.2f} s, together "
            f"{done - before:.2f} s (bound {BOUND_S:g} s)"
        )


if __name__ == "__main__":
    main(
        *(sys.argv[1:] or [str(EXAMPLES / "balanced.yaml"), str(EXAMPLES / "lowest-latency.yaml")])
    )
