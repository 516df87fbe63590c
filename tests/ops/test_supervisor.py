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
class SmallHouse:
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
        """Send the signal; return what was printed, once nothing of the house is left."""
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
def start(tmp_path: Path) -> Iterator[Callable[..., SmallHouse]]:
    houses: list[SmallHouse] = []

    def start(*names: str, ready: bool = True) -> SmallHouse:
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
        house = SmallHouse(process, tmp_path / "log")
        houses.append(house)
        if ready:
            house.wait_for(lambda: all(house.notes(name, "up") for name in names))
        return house

    yield start
    for house in houses:
        if house.process.poll() is None:
            house.process.kill()
        if house.process.stdout and not house.process.stdout.closed:
            house.process.communicate()


def test_a_killed_program_is_started_again(start: Callable[..., SmallHouse]) -> None:
    house = start("web", "other")
    first = house.notes("web", "up")[0][0]
    os.kill(first, signal.SIGKILL)
    house.wait_for(lambda: len(house.notes("web", "up")) == 2)
    assert not is_running(first)
    assert len(house.notes("other", "up")) == 1
    printed = house.end()
    assert "web was killed (signal 9); starting it again" in printed


def test_ctrl_c_stops_everything_and_is_no_failure(start: Callable[..., SmallHouse]) -> None:
    house = start("web", "worker", "slow")
    printed = house.end()
    assert house.process.returncode == 0
    assert "web       | hello from web" in printed
    assert len(house.notes("slow", "gone")) == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_other_stop_signals_stop_everything_too(
    start: Callable[..., SmallHouse], signum: int
) -> None:
    house = start("web", "worker")
    house.end(signum)
    assert house.process.returncode == 0


def test_what_others_need_stops_last(start: Callable[..., SmallHouse]) -> None:
    house = start("store", "slow", "web")
    house.end()
    assert house.notes("store", "term")[0][1] >= house.notes("slow", "gone")[0][1]


def test_a_busy_worker_is_told_twice(start: Callable[..., SmallHouse]) -> None:
    house = start("busy", "web")
    house.end()
    (_, first), (_, second) = house.notes("busy", "term")
    assert second - first > 0.5
    assert len(house.notes("web", "term")) == 1


def test_a_second_ctrl_c_kills_what_does_not_listen(start: Callable[..., SmallHouse]) -> None:
    house = start("deaf")
    began = time.monotonic()
    house.process.send_signal(signal.SIGINT)
    house.wait_for(lambda: house.notes("deaf", "term"))
    house.end()
    assert time.monotonic() - began < 6


def test_a_program_that_closed_its_output_is_still_watched(
    start: Callable[..., SmallHouse],
) -> None:
    house = start("quiet")
    os.kill(house.notes("quiet", "up")[0][0], signal.SIGKILL)
    house.wait_for(lambda: len(house.notes("quiet", "up")) == 2)
    house.end()


def test_a_vital_program_that_never_comes_up_ends_the_house(
    start: Callable[..., SmallHouse],
) -> None:
    house = start("other", "broken", ready=False)
    printed, _ = house.process.communicate(timeout=60)
    assert house.process.returncode == 1
    assert "broken    | no such thing" in printed
    assert "broken ended (exit code 3) three times; giving up." in printed
    assert not any(is_running(pid) for pid in house.pids())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_killing_the_supervisor_leaves_no_process(start: Callable[..., SmallHouse]) -> None:
    house = start("web", "store", "deaf")
    house.process.kill()
    house.process.communicate()
    house.wait_for(lambda: not any(is_running(pid) for pid in house.pids()))


def test_a_reader_that_stopped_reading_does_not_keep_the_house_up(
    start: Callable[..., SmallHouse],
) -> None:
    house = start("web")
    assert house.process.stdout is not None
    house.process.stdout.close()
    house.process.send_signal(signal.SIGTERM)
    assert house.process.wait(timeout=60) == 0
    assert not any(is_running(pid) for pid in house.pids())
