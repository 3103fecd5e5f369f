"""Benchmark reports of the field's tools -> measurements in one form.

A new format is one entry of IMPORTERS; one contract test runs over the table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.importers import guidellm, llama_cpp, nvidia, servers
from backends.importers.document import load
from backends.importers.fields import Fields, NotReadable
from backends.importers.measurement import BenchmarkReport

__all__ = ["IMPORTERS", "BenchmarkReport", "Importer", "NotReadable", "read"]


@dataclass(frozen=True, slots=True)
class Importer:
    """`recognises` looks at a file's first object, `read` takes all of them."""

    name: str
    recognises: Callable[[Fields], bool]
    read: Callable[[Sequence[Fields]], list[BenchmarkReport]]


IMPORTERS: tuple[Importer, ...] = (
    Importer("llama-bench", llama_cpp.is_bench, llama_cpp.read_bench),
    Importer("llama-batched-bench", llama_cpp.is_batched, llama_cpp.read_batched),
    Importer("vllm bench serve", servers.is_vllm, servers.read_vllm),
    Importer("sglang bench_serving", servers.is_sglang, servers.read_sglang),
    Importer("guidellm", guidellm.is_guidellm, guidellm.read_guidellm),
    Importer("aiperf", nvidia.is_aiperf, nvidia.read_aiperf),
    Importer("genai-perf", nvidia.is_genai_perf, nvidia.read_genai_perf),
)

# Known by what they hold, and of no use: whose, and why.
REFUSED: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset({"elapsed_time", "total_num_tokens"}),
        "`vllm bench throughput` counts prompt and output tokens together: use `vllm bench serve`",
    ),
    (
        frozenset({"avg_latency", "percentiles"}),
        "`vllm bench latency` doesn't say batch and lengths: use `vllm bench serve`",
    ),
)


def read(path: Path) -> list[BenchmarkReport]:
    """Read a file of any tool: one report for every model and setting in it.

    Raise NotReadable with file, field, value and what is expected.
    """
    report = load(path)
    first = report.objects[0]
    importer = _of(first)
    if importer is None:
        for keys, said in REFUSED:
            if keys <= set(first.values):
                raise NotReadable(f"{report.name}: {said}")
        known = ", ".join(importer.name for importer in IMPORTERS)
        raise NotReadable(f"{report.name}: a report of no tool that is known (known: {known})")
    for other in report.objects[1:]:
        theirs = _of(other)
        if theirs is not importer:
            said = "an unknown one" if theirs is None else f"one of {theirs.name}"
            raise NotReadable(f"{other.where}: {said} among results of {importer.name}")
    return importer.read(report.objects)


def _of(first: Fields) -> Importer | None:
    return next((importer for importer in IMPORTERS if importer.recognises(first)), None)
