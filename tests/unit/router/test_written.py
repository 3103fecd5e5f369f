"""Where a command writes: what it may not take, and what stays what it is."""

import os
import subprocess
import sys
import threading

import pytest

from router.cli.calibrate.written import check_written, write
from router.cli.errors import INVALID, Ends


def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_pipe_is_written_into_and_stays_one(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"new")
    reader.join(10)
    assert read == [b"new"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["", ".", "folder"])
def test_a_folder_and_an_empty_name_are_refused_before_the_work(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(Ends, match="is a folder, or no name: give a file") as caught:
        check_written([type(tmp_path)(name)], [])
    assert caught.value.exit_code == INVALID


def test_a_link_into_a_folder_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("nowhere/file")
    with pytest.raises(Ends, match="nowhere: no such folder"):
        check_written([tmp_path / "link"], [])


def test_a_full_standard_output_is_told_without_a_traceback():
    with open("/dev/full", "wb") as full:  # noqa: PTH123  (a device)
        told = subprocess.run(
            [sys.executable, "-m", "router.cli", "--help"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr == "Error: standard output can't be written: No space left on device\n"


def test_ctrl_c_while_the_modules_load_ends_quietly_with_130(tmp_path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    told = subprocess.run(
        [sys.executable, "-m", "router.cli"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (130, "")
