"""llama-server found, built and watched; the real one is in tests/integration/test_engine.py."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading

import pytest

from backends.engines import EngineNotBuilt, EngineNotStarted, EngineUnusable, tiny_model
from backends.engines.llama_build import OPTIONS, PROGRAMS, Kit, Source, cached, home
from backends.engines.llama_cpp import build, find, free_port, start

LIKE_LLAMA_SERVER = "#!/bin/sh\necho 'version: 1 (of a test)'\n"
NOT_STARTED = {"alias": "tiny", "slots": 1, "threads": 1, "ctx": 512}


def program(path, text=LIKE_LLAMA_SERVER):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def path_of(monkeypatch, tmp_path):
    """Make PATH hold the given programs and nothing else."""

    def only(**programs):
        folder = tmp_path / "path"
        folder.mkdir(exist_ok=True)
        for name, text in programs.items():
            program(folder / name.replace("_", "-"), text)
        monkeypatch.setenv("PATH", str(folder))
        return folder

    return only


# --- found ------------------------------------------------------------------------------------


def test_nothing_is_found_on_a_bare_machine(path_of, tmp_path):
    path_of()
    assert find(None, tmp_path / "cache") is None


def test_the_explicit_one_wins_over_path_and_path_over_the_cache(path_of, tmp_path):
    built = program(home(tmp_path) / "llama-server")
    path_of()
    assert find(None, tmp_path) == built
    on_path = path_of(llama_server=LIKE_LLAMA_SERVER) / "llama-server"
    assert find(None, tmp_path) == on_path
    explicit = program(tmp_path / "mine" / "server")
    assert find(str(explicit), tmp_path) == explicit


def test_a_broken_one_on_path_is_passed_over(path_of, tmp_path):
    path_of(llama_server="#!/bin/sh\nexit 127\n")
    assert find(None, tmp_path) is None
    built = program(home(tmp_path) / "llama-server")
    assert find(None, tmp_path) == built


def test_a_broken_cached_one_counts_as_none(path_of, tmp_path):
    path_of()
    program(home(tmp_path) / "llama-server", "not a program")
    assert find(None, tmp_path) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no such program"),
        ("#!/bin/sh\necho cannot load libgomp >&2; exit 3\n", "status 3: cannot load libgomp"),
        ("#!/bin/sh\necho 'ls (GNU coreutils) 9.1'\n", "is no llama-server"),
        ("#!/no/such/interpreter\n", "does not run"),
    ],
)
def test_an_explicit_one_that_cannot_be_used_is_refused_with_what_to_do(text, why, tmp_path):
    named = tmp_path / "server"
    if text is not None:
        program(named, text)
    with pytest.raises(EngineUnusable) as caught:
        find(str(named), tmp_path)
    assert str(caught.value).startswith(f"`{named}`: ")
    assert why in str(caught.value)
    assert "SLUICE_LLAMA_SERVER must name a working llama-server" in str(caught.value)


def test_an_explicit_file_that_is_not_executable_is_refused(tmp_path):
    (tmp_path / "server").write_text(LIKE_LLAMA_SERVER)
    with pytest.raises(EngineUnusable, match="is not executable"):
        find(str(tmp_path / "server"), tmp_path)


def test_an_explicit_one_is_never_replaced_by_another(path_of, tmp_path):
    path_of(llama_server=LIKE_LLAMA_SERVER)
    with pytest.raises(EngineUnusable):
        find(str(tmp_path / "gone"), tmp_path)


# --- built ------------------------------------------------------------------------------------

FAKE_CMAKE = f"""#!{sys.executable}
import pathlib, sys
source = pathlib.Path(sys.argv[sys.argv.index("-S") + 1])
assert (source / "CMakeLists.txt").is_file()
pathlib.Path({{work!r}}, "configured").write_text(" ".join(sys.argv[1:]))
"""
FAKE_NINJA = f"""#!{sys.executable}
import pathlib, sys
pathlib.Path({{work!r}}, "asked").write_text(" ".join(sys.argv[1:]))
print("[1/2] compiling"); print("[2/2] linking")
built = pathlib.Path(sys.argv[sys.argv.index("-C") + 1]) / "bin"
built.mkdir(parents=True, exist_ok=True)
for name in {PROGRAMS!r}:
    (built / name).write_text("#!/bin/sh\\necho version: built\\n")
    (built / name).chmod(0o755)
"""


@pytest.fixture
def machine(path_of, tmp_path):
    """A machine with compilers, cmake and ninja (none of them real), and the sdist of a test."""
    folder = tmp_path / "sdist" / "x-1" / "vendor" / "llama.cpp"
    folder.mkdir(parents=True)
    (folder / "CMakeLists.txt").write_text("project(x)")
    with tarfile.open(tmp_path / "x-1.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "sdist" / "x-1", "x-1")
    sha256 = hashlib.sha256((tmp_path / "x-1.tar.gz").read_bytes()).hexdigest()
    source = Source("x", "1", "x-1.tar.gz", sha256, "x-1/vendor/llama.cpp")
    true = "#!/bin/sh\nexit 0\n"
    cmake, ninja = (fake.format(work=str(tmp_path)) for fake in (FAKE_CMAKE, FAKE_NINJA))
    path_of(cc=true, **{"c++": true}, cmake=cmake, ninja=ninja)
    work = home(tmp_path, source) / "work"
    work.mkdir(parents=True)
    (tmp_path / "x-1.tar.gz").rename(work / "x-1.tar.gz")
    program(work / "tools" / "bin" / "pip")  # the environment for pip is there: no network here
    return source


def test_a_build_leaves_the_programs_and_nothing_else(machine, tmp_path):
    said = []
    built = build(tmp_path, said.append, 3, machine)
    assert built == home(tmp_path, machine) / "llama-server" == cached(tmp_path, machine)
    assert {p.name for p in built.parent.iterdir()} == {*PROGRAMS, "lock"}
    assert subprocess.check_output([built], text=True) == "version: built\n"
    assert "-j 3 llama-server llama-bench llama-batched-bench" in (tmp_path / "asked").read_text()
    assert all(option in (tmp_path / "configured").read_text() for option in OPTIONS)
    assert "building llama-server: 50 %" in said
    assert said[-1] == f"llama-server is built: {built}"


def test_another_kit_has_its_own_place_options_and_files(machine, tmp_path):
    kit = Kit(("llama-bench", "llama-server"), ("-DGGML_RPC=ON",), ("CMakeLists.txt",))
    work = home(tmp_path, machine, kit) / "work"
    shutil.copytree(home(tmp_path, machine) / "work", work)
    built = build(tmp_path, lambda _: None, 1, machine, kit)
    assert built == home(tmp_path, machine, kit) / "llama-bench" == cached(tmp_path, machine, kit)
    assert cached(tmp_path, machine) is None
    assert {p.name for p in built.parent.iterdir()} == {*kit.programs, "CMakeLists.txt", "lock"}
    assert (tmp_path / "configured").read_text().endswith("-DGGML_RPC=ON")


def test_what_is_built_is_not_built_again(machine, tmp_path):
    built = build(tmp_path, lambda _: None, 1, machine)
    (tmp_path / "asked").unlink()
    assert build(tmp_path, lambda _: None, 1, machine) == built
    assert not (tmp_path / "asked").exists()


def test_an_interrupted_build_resumes_from_what_it_has(machine, tmp_path):
    work = home(tmp_path, machine) / "work"
    source = work / "source" / machine.folder
    source.mkdir(parents=True)
    (source / "CMakeLists.txt").write_text("unpacked before")
    (work / machine.archive).write_text("not looked at")
    assert build(tmp_path, lambda _: None, 1, machine).is_file()


def test_two_builds_at_once_build_once(machine, tmp_path):
    import fcntl

    folder, said, done = home(tmp_path, machine), [], []
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Event()

        def say(text):
            said.append(text)
            waiting.set()

        second = threading.Thread(target=lambda: done.append(build(tmp_path, say, 1, machine)))
        second.start()
        assert waiting.wait(10)
        first_built = program(folder / "llama-server")
    second.join(10)
    assert done == [first_built]
    assert said == ["another build of llama-server is running; waiting for it"]
    assert not (tmp_path / "asked").exists()


def test_a_missing_compiler_names_the_package_to_install(path_of, tmp_path):
    path_of(cc="", cmake="", ninja="")
    with pytest.raises(EngineNotBuilt, match=r"sudo apt-get install build-essential"):
        build(tmp_path, lambda _: None, 1)


def test_another_archive_than_the_pinned_one_is_refused_and_thrown_away(machine, tmp_path):
    archive = home(tmp_path, machine) / "work" / machine.archive
    archive.write_bytes(b"something else")
    with pytest.raises(EngineNotBuilt, match="sha256 differs"):
        build(tmp_path, lambda _: None, 1, machine)
    assert not archive.exists()


def test_an_index_that_does_not_answer_is_told_with_the_way_around(machine, tmp_path):
    work = home(tmp_path, machine) / "work"
    (work / machine.archive).unlink()
    program(work / "tools" / "bin" / "python", "#!/bin/sh\necho no route to host; exit 1\n")
    with pytest.raises(EngineNotBuilt) as caught:
        build(tmp_path, lambda _: None, 1, machine)
    assert "no route to host" in str(caught.value)
    assert f"or put the file at `{work / machine.archive}`" in str(caught.value)


def test_pip_fetches_the_one_pinned_sdist(machine, tmp_path):
    work = home(tmp_path, machine) / "work"
    (work / machine.archive).rename(tmp_path / "kept.tar.gz")
    pip = f"""#!/bin/sh
echo "$@" > {tmp_path}/pip
/bin/mkdir -p {work}/download
/bin/cp {tmp_path}/kept.tar.gz {work}/download/{machine.archive}
"""
    program(work / "tools" / "bin" / "python", pip)
    assert build(tmp_path, lambda _: None, 1, machine).is_file()
    asked = (tmp_path / "pip").read_text()
    assert "pip download --quiet --no-deps --no-binary x " in asked
    assert asked.endswith("x==1\n")


def test_cmake_and_ninja_come_from_the_index_where_the_machine_has_none(machine, tmp_path):
    for name in ("cmake", "ninja"):
        (tmp_path / "path" / name).rename(tmp_path / name)
    tools = home(tmp_path, machine) / "work" / "tools" / "bin"
    pip = f"""#!/bin/sh
echo "$@" > {tmp_path}/pip
/bin/cp {tmp_path}/cmake {tmp_path}/ninja {tools}
"""
    program(tools / "python", pip)
    said = []
    assert build(tmp_path, said.append, 1, machine).is_file()
    assert "cmake>=3.28,<5 ninja>=1.11,<2" in (tmp_path / "pip").read_text()
    assert "fetching cmake and ninja from the package index" in said


def test_a_compiler_that_gives_up_is_told_with_its_last_words_and_the_log(
    machine, path_of, tmp_path
):
    path_of(ninja="#!/bin/sh\necho '[1/2] x'; echo 'out of memory'; exit 1\n")
    with pytest.raises(EngineNotBuilt) as caught:
        build(tmp_path, lambda _: None, 1, machine)
    log = home(tmp_path, machine) / "work" / "build.log"
    assert str(caught.value) == (f"llama.cpp does not compile: out of memory (all of it: `{log}`)")
    assert "out of memory" in log.read_text()
    assert cached(tmp_path, machine) is None


# --- started ----------------------------------------------------------------------------------


def test_a_port_in_use_is_told_with_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineNotStarted) as caught:
            start(
                program(tmp_path / "x"),
                tiny_model(),
                port=port,
                log_path=tmp_path / "log",
                **NOT_STARTED,
            )
    assert str(caught.value).startswith(f"port {port} can't be used for llama-server: Address alr")
    assert "use another port" in str(caught.value)


def test_a_missing_model_is_told_before_anything_starts(tmp_path):
    with pytest.raises(EngineNotStarted, match="there is no such model file"):
        start(
            program(tmp_path / "x"),
            tmp_path / "no.gguf",
            port=free_port(),
            log_path=tmp_path / "log",
            **NOT_STARTED,
        )
    assert not (tmp_path / "log").exists()


def test_an_engine_that_dies_at_once_is_told_with_its_last_line(tmp_path):
    dies = program(tmp_path / "x", "#!/bin/sh\necho loading; echo 'bad magic'; echo; exit 7\n")
    with pytest.raises(EngineNotStarted, match="ended with status 7: bad magic"):
        start(dies, tiny_model(), port=free_port(), log_path=tmp_path / "log", **NOT_STARTED)


def test_an_engine_that_never_serves_is_stopped_and_told(tmp_path):
    sleeps = program(tmp_path / "x", f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    with pytest.raises(EngineNotStarted, match="not ready after 3 s: it logged nothing"):
        start(
            sleeps,
            tiny_model(),
            port=free_port(),
            log_path=tmp_path / "log",
            ready_within_s=3,
            **NOT_STARTED,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
