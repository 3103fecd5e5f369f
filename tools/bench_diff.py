"""Times `sluice policy diff` over 28,000 requests, as people call it, in CPU seconds.

    .venv/bin/python tools/bench_diff.py [OLD NEW]

Without OLD and NEW every example policy is compared with the next one, and the slowest pair told.
The whole command is timed, from its start to its report: reading, making the trace, and every
replay of as many seeds as it takes by itself. The trace is made: Poisson, 8 requests a second for
nearly an hour. Every run has its own seed. The bound (5 s of CPU) is the one that the policy bench
promises.
"""

import resource
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path("policies/examples")
TRACE = "gen:poisson?rate=8&seconds=3500"
RUNS = 3
BOUND_S = 5.0


def main(pairs: list[tuple[str, str]], runs: int) -> None:
    slowest = 0.0, ""
    for old, new in pairs:
        for seed in range(runs):
            whole, size = cpu_s([old, new, "--trace", TRACE, "--seed", str(seed)])
            said = f"{Path(old).stem} -> {Path(new).stem}, seed {seed}"
            slowest = max(slowest, (whole, said))
            print(
                f"{said}: {whole:.2f} s of CPU (a report of {size:,} characters; "
                f"bound {BOUND_S:g} s)",
                flush=True,
            )
    print(f"the slowest: {slowest[1]}: {slowest[0]:.2f} s")


def around() -> list[tuple[str, str]]:
    """Return each example policy with the next one, the last with the first."""
    found = sorted(str(path) for path in EXAMPLES.glob("*.yaml"))
    return list(zip(found, [*found[1:], found[0]], strict=True))


def cpu_s(arguments: list[str]) -> tuple[float, int]:
    """Return the CPU seconds of one command, and how much it said."""
    before = used_s()
    done = subprocess.run(  # noqa: S603  (our own command)
        [sys.executable, "-m", "router.cli", "policy", "diff", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return used_s() - before, len(done.stdout)


def used_s() -> float:
    """Return the CPU seconds of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    if sys.argv[1:]:
        main([(sys.argv[1], sys.argv[2])], RUNS)
    else:
        main(around(), 1)
