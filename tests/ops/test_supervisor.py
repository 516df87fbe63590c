"""The supervisor of `flask up`, with tiny programs that note what happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class SmallStack:
    """A supervisor in a process of its own, and what its programs noted."""

    process: subprocess.Popen[str]
    log: Path

    def notes(self, name: str, what: str) -> list[tuple[int, float]]:
        """Return (process id, moment) of each such note, in order."""
        if not self.log.exists():
            return []
        rows = [line.split() for line in self.log.read_text().splitlines()]
        return [(int(r[2]), float(r[3])) for r in rows if r[:2] == [name, what] and len(r) == 4]

    def pids(self) -> set[int]:
        return {int(line.split()[2]) for line in self.log.read_text().splitlines()}

    def wait_for(self, is_true: Callable[[], object], wait_s: float = 60) -> None:
        deadline = time.monotonic() + wait_s
        while not is_true():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def end(self, signum: int = signal.SIGINT) -> str:
        """Send the signal; return what was printed, once nothing of the stack is left."""
        self.process.send_signal(signum)
        printed, _ = self.process.communicate(timeout=60)
        assert [pid for pid in self.pids() if is_running(pid)] == []
        return printed


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., SmallStack]]:
    stacks: list[SmallStack] = []

    def start(*names: str, ready: bool = True) -> SmallStack:
        argv = [sys.executable, str(Path(__file__).with_name("small_helpers.py")), str(tmp_path)]
        process = subprocess.Popen(
            [*argv, *names],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Under nohup it would be ignored from the start, which is another test's truth.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        stack = SmallStack(process, tmp_path / "log")
        stacks.append(stack)
        if ready:
            stack.wait_for(lambda: all(stack.notes(name, "up") for name in names))
        return stack

    yield start
    for stack in stacks:
        if stack.process.poll() is None:
            stack.process.kill()
        if stack.process.stdout and not stack.process.stdout.closed:
            stack.process.communicate()


def test_a_killed_program_is_started_again(start: Callable[..., SmallStack]) -> None:
    stack = start("web", "other")
    first = stack.notes("web", "up")[0][0]
    os.kill(first, signal.SIGKILL)
    stack.wait_for(lambda: len(stack.notes("web", "up")) == 2)
    assert not is_running(first)
    assert len(stack.notes("other", "up")) == 1
    printed = stack.end()
    assert "web was killed (signal 9); starting it again" in printed


def test_ctrl_c_stops_everything_and_is_no_failure(start: Callable[..., SmallStack]) -> None:
    stack = start("web", "worker", "slow")
    printed = stack.end()
    assert stack.process.returncode == 0
    assert "web       | hello from web" in printed
    assert len(stack.notes("slow", "gone")) == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_other_stop_signals_stop_everything_too(
    start: Callable[..., SmallStack], signum: int
) -> None:
    stack = start("web", "worker")
    stack.end(signum)
    assert stack.process.returncode == 0


def test_what_others_need_stops_last(start: Callable[..., SmallStack]) -> None:
    stack = start("store", "slow", "web")
    stack.end()
    assert stack.notes("store", "term")[0][1] >= stack.notes("slow", "gone")[0][1]


def test_a_busy_worker_is_told_twice(start: Callable[..., SmallStack]) -> None:
    stack = start("busy", "web")
    stack.end()
    (_, first), (_, second) = stack.notes("busy", "term")
    assert second - first > 0.5
    assert len(stack.notes("web", "term")) == 1


def test_a_second_ctrl_c_kills_what_does_not_listen(start: Callable[..., SmallStack]) -> None:
    stack = start("deaf")
    began = time.monotonic()
    stack.process.send_signal(signal.SIGINT)
    stack.wait_for(lambda: stack.notes("deaf", "term"))
    stack.end()
    assert time.monotonic() - began < 6


def test_a_program_that_closed_its_output_is_still_watched(
    start: Callable[..., SmallStack],
) -> None:
    stack = start("quiet")
    os.kill(stack.notes("quiet", "up")[0][0], signal.SIGKILL)
    stack.wait_for(lambda: len(stack.notes("quiet", "up")) == 2)
    stack.end()


def test_a_vital_program_that_never_comes_up_ends_the_stack(
    start: Callable[..., SmallStack],
) -> None:
    stack = start("other", "broken", ready=False)
    printed, _ = stack.process.communicate(timeout=60)
    assert stack.process.returncode == 1
    assert "broken    | no such thing" in printed
    assert "broken ended (exit code 3) three times; giving up." in printed
    assert not any(is_running(pid) for pid in stack.pids())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_killing_the_supervisor_leaves_no_process(start: Callable[..., SmallStack]) -> None:
    stack = start("web", "store", "deaf")
    stack.process.kill()
    stack.process.communicate()
    stack.wait_for(lambda: not any(is_running(pid) for pid in stack.pids()))


def test_a_reader_that_stopped_reading_does_not_keep_the_stack_up(
    start: Callable[..., SmallStack],
) -> None:
    stack = start("web")
    assert stack.process.stdout is not None
    stack.process.stdout.close()
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(timeout=60) == 0
    assert not any(is_running(pid) for pid in stack.pids())
