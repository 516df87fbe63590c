"""What the commands of all rooms share: here, how a progress bar looks to whom."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from webapp.commands import handle_cli_errors, progress_bar

ROOT = Path(__file__).parent.parent
STEPS = """
from webapp.commands import progress_bar
with progress_bar() as draw:
    draw(0, 0, "looking")
    draw(1, 4, "first\\nline" + "." * 200)
    draw(4, 4, "last")
"""


def test_who_reads_a_file_gets_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as draw:
        draw(1, 4, "first\nline")
        draw(4, 4, "last")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "[######------------------] 1/4 first line",
        "[########################] 4/4 last",
    ]


def test_a_bar_for_terminals_only_is_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(only_at_a_terminal=True) as draw:
        draw(1, 4, "first")
    assert capsys.readouterr() == ("", "")


def test_at_a_terminal_one_line_is_redrawn_and_never_wraps() -> None:
    ours, theirs = pty.openpty()
    try:
        env = os.environ | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
        subprocess.run([sys.executable, "-c", STEPS], cwd=ROOT, env=env, stderr=theirs, check=True)
        os.close(theirs)
        printed = b""
        while chunk := _read(ours):
            printed += chunk
    finally:
        os.close(ours)
    shown = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", printed.decode())
    drawn = [part for part in shown.split("\r") if "/4" in part]
    assert drawn[0].startswith("[######------------------] 1/4 first line...")
    assert all(len(part.rstrip()) < 80 for part in drawn)
    assert "[########################] 4/4 last" in drawn[-1]
    assert printed.count(b"\n") == 1


def test_a_full_disk_and_a_folder_that_is_not_there_are_sentences(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fill() -> None:
        with Path("/dev/full").open("wb") as file:
            file.write(b"x")

    for fail, words in (
        (fill, "The disk is full"),
        ((tmp_path / "no" / "x").touch, "No such file"),
    ):
        with pytest.raises(SystemExit) as ended:
            handle_cli_errors(fail)()
        assert (ended.value.code, words in capsys.readouterr().err) == (1, True)


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # nobody holds the other end any more
        return b""
