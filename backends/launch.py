"""How to start an engine for a model that fits: settings, each with its reason and source.

Pure. One entry of ``LAUNCHERS`` for each engine that a family of machines names: what it computes
from memory, cores and sockets. What is known of one model or machine are rows of
``data/launch.yaml``.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from backends.hardware import Accelerators
from backends.launch_table import Row
from backends.memory import Fit

MIB = 2**20
LONG_PROMPT_BATCH = 1024
BATCH = 512
CACHE_RAM_MIB = 8192  # llama-server's own limit of its prompt cache
STEADY_SHARE = 0.75  # S3: about 3/4 of the cores is the most stable

VLLM_DOCS = "vLLM documentation"
LLAMA_README = "llama.cpp tools/server/README.md"


@dataclass(frozen=True, slots=True)
class Setting:
    """`value` None: a flag that stands alone."""

    flag: str
    value: str | None
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Launch:
    """`program`: what precedes the settings. `notes`: what no setting can say."""

    engine: str
    program: tuple[str, ...]
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(
            part
            for setting in self.settings
            for part in (setting.flag, *(() if setting.value is None else (setting.value,)))
        )

    @property
    def command(self) -> str:
        """The command line, quoted for a shell."""
        return shlex.join((*self.program, *self.arguments))


def launch(found: Fit, rows: Sequence[Row]) -> Launch:
    """Return how to start the engine of this machine; the model is taken to fit it."""
    start = LAUNCHERS[found.instance.family.engine](found)
    for row in rows:
        if row.fits(found):
            start = _with(start, row)
    return start


def _with(start: Launch, row: Row) -> Launch:
    extras = [Setting(each.flag, each.value, each.why, row.source) for each in row.extras]
    out = row.unset | {each.flag for each in extras}
    kept = (each for each in start.settings if each.flag not in out)
    program = start.program
    if row.checkpoint is not None:
        program = (*program[:-1], row.checkpoint)  # the model ends every program
    notes = start.notes if row.note is None else (*start.notes, f"{row.note} [{row.source}]")
    return replace(start, program=program, settings=(*kept, *extras), notes=notes)


def container_environment(found: Fit, start: Launch) -> Mapping[str, str]:
    """Return what tells the container (``engines/container``) these settings; llama.cpp only."""
    assert start.engine == "llama.cpp", "the container has llama.cpp and Ollama"
    told = {"--threads": "SLUICE_THREADS", "--parallel": "OLLAMA_NUM_PARALLEL", "--ctx-size": None}
    named = {name: each.value for each in start.settings if (name := told.get(each.flag))}
    rest = [
        part
        for each in start.settings
        if each.flag not in told
        for part in (each.flag, *(() if each.value is None else (each.value,)))
    ]
    return {
        **{name: value for name, value in named.items() if value is not None},
        "SLUICE_CONTEXT_TOKENS": str(found.ask.context_tokens),
        "SLUICE_LLAMA_ARGS": shlex.join(rest),
    }


# ---- llama.cpp on a CPU ------------------------------------------------------------------------


def _llama_cpp(found: Fit) -> Launch:
    model = f"{found.model.id}-{found.ask.quantisation.id}.gguf"
    notes = tuple(_llama_notes(found))
    program = ("llama-server", "--model", model)
    return Launch("llama.cpp", program, tuple(_llama_settings(found)), notes)


def _llama_settings(found: Fit) -> Iterator[Setting]:
    ask, instance = found.ask, found.instance
    yield Setting(
        "--threads",
        str(_cores(found)),
        "physical cores; a core's second thread adds no memory bandwidth",
        "S0, S3",
    )
    yield Setting(
        "--ctx-size",
        str(ask.context_tokens * ask.concurrency),
        f"shared by the slots: {ask.context_tokens} x {ask.concurrency}",
        LLAMA_README,
    )
    yield Setting("--parallel", str(ask.concurrency), "slots, one for a stream", LLAMA_README)
    yield Setting(
        "--batch-size",
        str(BATCH),
        f"S0's prompt throughput peaks at 256-512; up to {LONG_PROMPT_BATCH} for long prompts",
        "S0, S3",
    )
    yield Setting(
        "--flash-attn",
        "on",
        "without it the scores of every head are held as well; a quantised V cache needs it",
        f"measured with llama-server; {LLAMA_README}",
    )
    for flag in ("--cache-type-k", "--cache-type-v"):
        if ask.kv_type.id != "f16":
            why = f"{ask.kv_type.bits:g} bits an element instead of 16"
            yield Setting(flag, ask.kv_type.id, why, ask.kv_type.source)
    if (instance.numa_nodes or 1) > 1:
        yield Setting("--numa", "distribute", f"{instance.numa_nodes} sockets", "S3, S0 (pinning)")
    yield Setting(
        "--load-mode",
        "mmap+mlock",
        "mapped for a fast start, locked so that the weights are never paged out",
        f"S3 (--mlock, as releases before --load-mode call it); {LLAMA_README}",
    )
    yield Setting("--n-gpu-layers", "0", "there is no GPU", "S3")
    cache = _cache_ram_mib(found)
    yield Setting(
        "--cache-ram",
        str(cache),
        f"half of what is left; by itself the prompt cache would grow to {CACHE_RAM_MIB} MiB",
        LLAMA_README,
    )


def _cores(found: Fit) -> int:
    cores = found.instance.cores
    assert cores is not None, f"{found.instance.id} has no cores"
    return cores


def _cache_ram_mib(found: Fit) -> int:
    """Half of what is left, up to the engine's own limit: the other half stays free."""
    return max(0, min(CACHE_RAM_MIB, found.headroom_bytes // 2 // MIB))


def _llama_notes(found: Fit) -> Iterator[str]:
    cores = _cores(found)
    steady = max(1, int(cores * STEADY_SHARE))
    if steady < cores:
        yield (
            f"--threads {cores} is the fastest (S0); --threads {steady}, about 3/4 of the cores, "
            "the most stable under load (S3): measure both with your load"
        )
    yield "locking needs `ulimit -l unlimited` (LimitMEMLOCK=infinity, --ulimit memlock=-1)"
    yield "build with -mcpu=native (Arm) or -march=native (x86) (S0)"
    if found.ask.quantisation.note:
        yield f"{found.ask.quantisation.id}: {found.ask.quantisation.note}"


# ---- vLLM on GPU -------------------------------------------------------------------------------

_DTYPES = {"bf16": "bfloat16", "f16": "float16"}


def _vllm(found: Fit) -> Launch:
    settings = (
        *_parallel(found, "GPUs"),
        *_lengths(found),
        *_dtype(found),
        Setting(
            "--gpu-memory-utilization",
            f"{found.instance.family.usable_share:g}",
            "the share that this fit counts with",
            VLLM_DOCS,
        ),
        *_vllm_precision(found),
    )
    program = ("vllm", "serve", found.model.repo)
    return Launch("vllm", program, settings, tuple(_vllm_notes(found)))


def _parallel(found: Fit, devices: str) -> Iterator[Setting]:
    size = found.tensor_parallel
    why = (
        "the model fits one device" if size == 1 else f"the weights are split over {size} {devices}"
    )
    yield Setting("--tensor-parallel-size", str(size), why, f"{VLLM_DOCS}, parallelism and scaling")


def _lengths(found: Fit) -> Iterator[Setting]:
    ask = found.ask
    longest = f"at most {found.longest_context:,} fit with {ask.concurrency} streams"
    yield Setting("--max-model-len", str(ask.context_tokens), longest, "computed")
    most = f"at most {found.most_concurrency:,} streams of that length fit"
    yield Setting("--max-num-seqs", str(ask.concurrency), most, "computed")


def _dtype(found: Fit) -> Iterator[Setting]:
    dtype = _DTYPES.get(found.ask.quantisation.id, "bfloat16")
    yield Setting("--dtype", dtype, "what is computed in", "S2")


def _vllm_precision(found: Fit) -> Iterator[Setting]:
    if found.ask.quantisation.id == "fp8":
        yield Setting("--quantization", "fp8", "weights in 8 bits", "S2; " + VLLM_DOCS)
    if found.ask.kv_type.id == "fp8":
        yield Setting("--kv-cache-dtype", "fp8", "half the cache", VLLM_DOCS)


def _vllm_notes(found: Fit) -> Iterator[str]:
    has = _accelerators(found)
    quantisation = found.ask.quantisation.id
    if quantisation == "fp8" and not has.fp8:
        yield (
            f"{has.name} has no FP8 units: vLLM keeps the weights in FP8 and computes in 16 bits; "
            "try it first with a mixture of experts"
        )
    if quantisation == "fp8" and found.model.experts:
        yield "a published FP8 checkpoint needs no --quantization, nor the BF16 weights to load"
    if quantisation == "int8":
        yield "int8 needs a quantised checkpoint (W8A8), which vLLM recognises by itself"
    yield from _replicas(found, has)


def _replicas(found: Fit, has: Accelerators) -> Iterator[str]:
    replicas = has.devices // found.tensor_parallel
    if replicas > 1:
        yield f"{replicas} such replicas fit the machine side by side, each with its own port"


def _accelerators(found: Fit) -> Accelerators:
    has = found.instance.accelerators
    assert has is not None, f"{found.instance.id} has no accelerators"
    return has


# ---- vLLM on Neuron ----------------------------------------------------------------------------


def _vllm_neuron(found: Fit) -> Launch:
    settings = (
        *_parallel(found, "NeuronCores"),
        *_lengths(found),
        *_dtype(found),
    )
    program = ("vllm", "serve", found.model.repo)
    return Launch("vllm-neuron", program, settings, tuple(_neuron_notes(found)))


def _neuron_notes(found: Fit) -> Iterator[str]:
    has = _accelerators(found)
    if has.physical_cores and has.physical_cores > has.devices:
        pair = has.physical_cores // has.devices
        yield (
            f"{has.physical_cores} NeuronCores on {has.chips} chips, {pair} to a logical one "
            f"(LNC {pair}, the default): {has.devices} devices"
        )
    heads, size = found.model.heads, found.tensor_parallel
    if heads is not None and heads % size:
        yield (
            f"{heads} attention heads are no multiple of {size}: NxD Inference pads them, "
            "its guide asks for a divisor; try it before you buy"
        )
    yield "graphs are compiled for this length and number of streams: changing them compiles again"
    yield "not every model is verified on Neuron (S2)"
    if found.ask.quantisation.id == "int8":
        yield "int8 needs weights that NxD Inference has quantised beforehand"
    yield from _replicas(found, has)


LAUNCHERS: Mapping[str, Callable[[Fit], Launch]] = {
    "llama.cpp": _llama_cpp,
    "vllm": _vllm,
    "vllm-neuron": _vllm_neuron,
}
