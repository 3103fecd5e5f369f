"""The rounds of the prober, with backends that have a script."""

import asyncio
from types import SimpleNamespace

from backends.base import Seen
from router.metrics import Metrics
from router.prober import Prober


class Scripted:
    def __init__(self, probe):
        self.probe = probe


class Tracker:
    def __init__(self):
        self.told = []

    def saw(self, fleet, seen, now_s):
        self.told.append((fleet, tuple(seen), now_s))


def runtime_of(**probes):
    backends = {name: Scripted(probe) for name, probe in probes.items()}
    generation = SimpleNamespace(backends=backends, tracker=Tracker())
    return SimpleNamespace(generation=generation, metrics=Metrics(), clock=lambda: 7.0)


async def fine():
    return (Seen("up"), Seen("down"))


PROMPT = "the words of a caller"


async def broken():
    raise ZeroDivisionError(PROMPT)


def test_what_was_seen_is_told_and_counted():
    runtime = runtime_of(a=fine)
    asyncio.run(Prober(runtime).look())
    assert runtime.generation.tracker.told == [("a", (Seen("up"), Seen("down")), 7.0)]
    text = runtime.metrics.text()
    assert b'sluice_probes_total{fleet="a",state="down"} 1.0' in text


def test_a_bug_in_one_probe_is_told_without_its_words_and_stops_no_other(caplog):
    thrice = asyncio.Event()

    async def counted():
        if len(runtime.generation.tracker.told) == 2:
            thrice.set()
        return (Seen("up"),)

    runtime = runtime_of(bad=broken, good=counted)

    async def main():
        prober = Prober(runtime, every_s=0.001)
        prober.start()
        await thrice.wait()
        await prober.aclose()

    asyncio.run(main())
    assert "fleet bad: a bug, ZeroDivisionError" in caplog.text
    assert PROMPT not in caplog.text


def test_what_comes_after_a_reload_is_dropped():
    """Its urls may be others by then."""
    runtime = runtime_of()

    async def reloading():
        runtime.generation = SimpleNamespace(backends={}, tracker=Tracker())
        return (Seen("down"),)

    runtime.generation.backends["a"] = Scripted(reloading)
    old = runtime.generation
    asyncio.run(Prober(runtime).look())
    assert old.tracker.told == runtime.generation.tracker.told == []
