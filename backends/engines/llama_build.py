"""llama-server from source, once, in a cache outside the clone; an interrupted build resumes.

The source is the sdist of llama-cpp-python, which carries llama.cpp whole: so the ordinary package
index, or a company's mirror of it, is all that a machine needs. pip fetches it, because pip knows
the user's index, proxy, certificates and credentials; it runs in an environment of its own beside
the build, and brings cmake and ninja where the machine has none.
"""

import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends.engines import EngineNotBuilt

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """One pinned sdist; `folder` is llama.cpp's place in it."""

    project: str
    version: str
    archive: str
    sha256: str
    folder: str


LLAMA_CPP = Source(
    project="llama-cpp-python",
    version="0.3.36",
    archive="llama_cpp_python-0.3.36.tar.gz",
    sha256="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    folder="llama_cpp_python-0.3.36/vendor/llama.cpp",
)
PROGRAMS = ("llama-server", "llama-bench", "llama-batched-bench")
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=ON",
    "-DGGML_OPENMP=ON",
    "-DGGML_CCACHE=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)


@dataclass(frozen=True, slots=True)
class Kit:
    """What to build of a source. The first program, put there last, says that all are there.

    `files`: what of llama.cpp's folder is kept beside the programs, under its own name.
    """

    programs: tuple[str, ...]
    options: tuple[str, ...] = OPTIONS
    files: tuple[str, ...] = ()


SERVING = Kit(PROGRAMS)
RECIPES = Kit(
    ("llama-quantize", "llama-imatrix", "ggml-rpc-server", "llama-server", "llama-bench"),
    (*OPTIONS, "-DGGML_RPC=ON"),
    ("models/ggml-vocab-qwen2.gguf", "models/templates/Qwen-Qwen3-0.6B.jinja"),
)
TOOLS = {"cmake": "cmake>=3.28,<5", "ninja": "ninja>=1.11,<2"}
NEEDED_BYTES = 700_000_000  # the sdist, its llama.cpp, the objects and the programs, with some room
NEEDED_COMPILERS = (("cc", "gcc", "clang"), ("c++", "g++", "clang++"))
SECONDS_BETWEEN_REPORTS = 1.0

_NINJA_STEP = re.compile(r"\[(\d+)/(\d+)\]")


def home(cache_dir: Path, source: Source = LLAMA_CPP, kit: Kit = SERVING) -> Path:
    """Where the programs of this source, these options and this processor lie."""
    # the processor counts: -march=native programs die of SIGILL on another one with the same cache
    parts = (*kit.options, *kit.programs, *kit.files, platform.machine(), _processor_flags())
    built_for = "\n".join(parts)
    key = hashlib.sha256(built_for.encode()).hexdigest()[:12]
    return cache_dir / "llama.cpp" / f"{source.version}-{key}"


def cached(cache_dir: Path, source: Source = LLAMA_CPP, kit: Kit = SERVING) -> Path | None:
    """Give the kit's first program, which an earlier build left, if any."""
    program = home(cache_dir, source, kit) / kit.programs[0]
    return program if program.is_file() else None


def build(
    cache_dir: Path, say: Say, jobs: int, source: Source = LLAMA_CPP, kit: Kit = SERVING
) -> Path:
    """Build what is missing and give the first program's path; `say` gets a line now and then.

    raises EngineNotBuilt
    """
    folder = home(cache_dir, source, kit)
    with _alone_in(folder, say):
        if done := cached(cache_dir, source, kit):  # another build finished while this one waited
            return done
        _check_machine(folder)
        work = folder / "work"
        work.mkdir(exist_ok=True)
        tools = _tools(work, say)
        llama_cpp = _unpacked(source, work, tools, say)
        _compile(kit, llama_cpp, work, tools, say, jobs)
        for name in kit.files:
            shutil.copy2(llama_cpp / name, folder / Path(name).name)
        for program in reversed(kit.programs):
            _publish(work / "build" / "bin" / program, folder / program)
        shutil.rmtree(work, ignore_errors=True)
        say(f"{kit.programs[0]} is built: {folder / kit.programs[0]}")
        return folder / kit.programs[0]


def _processor_flags() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


@contextmanager
def _alone_in(folder: Path, say: Say) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build of llama-server is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back, and so does the end of the process


def _check_machine(folder: Path) -> None:
    if not all(any(map(shutil.which, names)) for names in NEEDED_COMPILERS):
        raise EngineNotBuilt(
            "building llama-server needs a C and a C++ compiler (Debian, Ubuntu: "
            "`sudo apt-get install build-essential`); or set SLUICE_LLAMA_SERVER to a llama-server"
        )
    if (free := shutil.disk_usage(folder).free) < NEEDED_BYTES:
        raise EngineNotBuilt(
            f"building llama-server needs {NEEDED_BYTES // 10**6} MB under `{folder}`, "
            f"and {free // 10**6} MB are free"
        )


@dataclass(frozen=True, slots=True)
class _Tools:
    """An environment with pip, and where cmake and ninja are."""

    python: Path
    cmake: str
    ninja: str


def _tools(work: Path, say: Say) -> _Tools:
    folder = work / "tools"
    python = folder / "bin" / "python"
    if not (folder / "bin" / "pip").exists():
        uv = shutil.which("uv")
        # with our own interpreter: uv would download one where PATH has none
        command = [sys.executable, "-m", "venv"]
        if uv:
            command = [uv, "venv", "--quiet", "--seed", "--python", sys.executable]
        _run([*command, "--clear", str(folder)], work, "can't make a Python environment with pip")
    places = {name: shutil.which(name) or str(folder / "bin" / name) for name in TOOLS}
    absent = [name for name, place in places.items() if not Path(place).exists()]
    if absent:
        say(f"fetching {' and '.join(absent)} from the package index")
        wanted = [TOOLS[name] for name in absent]
        command = [str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:", *wanted]
        _run(command, work, f"can't fetch {' and '.join(absent)} from the package index")
    return _Tools(python, places["cmake"], places["ninja"])


def _unpacked(source: Source, work: Path, tools: _Tools, say: Say) -> Path:
    folder = work / "source"
    if folder.exists():
        return folder / source.folder
    archive = work / source.archive
    if not archive.exists():
        say(f"fetching the source of llama.cpp ({source.archive}, 77 MB) from the package index")
        _fetch(source, archive, tools)
    if _sha256(archive) != source.sha256:
        archive.unlink()
        raise EngineNotBuilt(
            f"`{source.archive}` is not the file that this release was tested with "
            "(its sha256 differs): the package index or a mirror of it serves something else"
        )
    say("unpacking it")
    unfinished = work / "source.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    with tarfile.open(archive) as tar:
        wanted = [member for member in tar if member.name.startswith(source.folder)]
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
            tar.extractall(unfinished, wanted, filter="data")
        else:
            tar.extractall(unfinished, wanted)  # noqa: S202 (its sha256 is known)
    unfinished.replace(folder)
    return folder / source.folder


def _fetch(source: Source, archive: Path, tools: _Tools) -> None:
    # --no-binary names the one project: its build dependencies, which pip wants for the metadata,
    # may be wheels. Nothing is compiled here.
    part = archive.parent / "download"
    command = [str(tools.python), "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", source.project, "--dest", str(part)]
    command += [f"{source.project}=={source.version}"]
    hint = (
        f"can't fetch `{source.archive}` from the package index "
        f"(a mirror is named by PIP_INDEX_URL; or put the file at `{archive}`)"
    )
    _run(command, archive.parent, hint)
    (part / source.archive).replace(archive)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compile(kit: Kit, llama_cpp: Path, work: Path, tools: _Tools, say: Say, jobs: int) -> None:
    build_dir = work / "build"
    say(f"building {kit.programs[0]} in {work}: once, about 5 minutes on 2 cores")
    configure = [tools.cmake, "-S", str(llama_cpp), "-B", str(build_dir), "-G", "Ninja"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={tools.ninja}", *kit.options]
    _run(configure, work, "cmake can't configure llama.cpp")
    nice = [found, "-n", "10"] if (found := shutil.which("nice")) else []
    compile_ = [*nice, tools.ninja, "-C", str(build_dir), "-j", str(max(1, jobs)), *kit.programs]
    _run(compile_, work, "llama.cpp does not compile", _progress(kit, say))


def _progress(kit: Kit, say: Say) -> Say:
    last = -SECONDS_BETWEEN_REPORTS

    def read(line: str) -> None:
        nonlocal last
        step = _NINJA_STEP.match(line)
        if step and (now := time.monotonic()) - last >= SECONDS_BETWEEN_REPORTS:
            last = now
            say(f"building {kit.programs[0]}: {100 * int(step[1]) // int(step[2])} %")

    return read


def _run(command: Sequence[str], work: Path, failing: str, read: Say = lambda _: None) -> None:
    """Run to the end, output to the log and line by line to `read`."""
    log_path, line = work / "build.log", ""
    try:
        with (
            log_path.open("a", encoding="utf-8") as log,
            subprocess.Popen(  # noqa: S603 (our own arguments, no shell)
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            ) as process,
        ):
            try:
                for line in process.stdout or ():
                    log.write(line)
                    read(line)
            except BaseException:  # a Ctrl-C that reached us alone
                process.terminate()
                raise
    except OSError as exc:
        raise EngineNotBuilt(f"{failing}: `{command[0]}`: {exc.strerror}") from exc
    if process.returncode:
        raise EngineNotBuilt(f"{failing}: {line.strip()} (all of it: `{log_path}`)")


def _publish(built: Path, place: Path) -> None:
    part = place.with_suffix(".part")
    shutil.copy2(built, part)
    if strip := shutil.which("strip"):
        subprocess.run([strip, str(part)], check=False)  # noqa: S603 (as above)
    part.replace(place)
