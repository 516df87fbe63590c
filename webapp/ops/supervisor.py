"""The supervisor of one machine's processes: starts them, starts again what dies, stops in order.

It knows nothing of Flask, reports or Redis. One thread waits for output, exits and signals, so that
forking stays safe. Each child has a session of its own, so that Ctrl-C reaches the supervisor alone
and the order of the stop is the supervisor's to choose.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from webapp.ops.leash import leash

SECOND_TERM_S = 1.2
KILL_S = 8.0
LAST_KILL_S = 18.0
STEADY_S = 10.0
SLOW_READER_S = 1.0
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Program:
    """What to run and how it may end.

    restart:    False for something that runs once
    insist:     a second TERM is what makes it stop now (RQ: cold stop)
    stops_last: stopped after all others are gone, because they still need it
    vital:      before the house is ready, dying three times in a row ends the house
    raw:        its lines are printed without its name in front
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    restart: bool = True
    insist: bool = False
    stops_last: bool = False
    vital: bool = False
    raw: bool = False


@dataclass
class Child:
    """A program and its present process."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float | None = None
    quick_deaths: int = 0
    tail: bytes = field(default=b"", repr=False)

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs programs until a signal, `stop()`, or the death of a vital one.

    tick: called a few times a second while all is well; the house asks there whether it is ready
    """

    def __init__(
        self,
        *,
        say: Callable[[str, str], None] | None = None,
        tick: Callable[[], None] | None = None,
    ) -> None:
        self.children: list[Child] = []
        self.is_ready = False
        self.exit_code = 0
        self._say = say or print_line
        self._tick = tick
        self._stopping = False
        self._hurry = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    # --- the outside -----------------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def listen_to_signals(self) -> None:
        """Take over the stop signals; one that was ignored from the start (nohup) stays ignored."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signum in _STOP_SIGNALS:
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, self._on_stop_signal)

    def add(self, program: Program) -> Child:
        """Start a program and keep it running."""
        child = Child(program)
        self.children.append(child)
        self._start(child)
        return child

    def stop(self, exit_code: int = 0) -> None:
        """Ask `run` to stop everything and to return this exit code."""
        self._stopping = True
        self.exit_code = self.exit_code or exit_code

    def run(self) -> int:
        """Watch the children until told to stop; stop them all; return the exit code."""
        try:
            while not self._stopping:
                self._wait(0.2)
                self._look_after()
                if self._tick is not None and not self._stopping:
                    self._tick()
        finally:
            self.shut_down()
        return self.exit_code

    def wait_until(self, is_true: Callable[[], bool], wait_s: float) -> bool:
        """Return whether it became true in time; children's output is passed on meanwhile."""
        deadline = time.monotonic() + wait_s
        while not self._stopping and time.monotonic() < deadline:
            if is_true():
                return True
            self._wait(0.05)
        return False

    def shut_down(self) -> None:
        """Stop everything, those that others need last; nothing is left when this returns."""
        self._stopping = True
        first = [child for child in self.children if not child.program.stops_last]
        last = [child for child in self.children if child.program.stops_last]
        self._stop_all(first, kill_s=KILL_S)
        self._stop_all(last, kill_s=LAST_KILL_S - KILL_S)

    # --- starting and starting again -------------------------------------------------------

    def _start(self, child: Child) -> None:
        child.start_again_at = None
        child.started_at = time.monotonic()
        child.process = subprocess.Popen(  # noqa: S603 (our own programs, no shell)
            list(child.program.argv),
            env=None if child.program.env is None else dict(child.program.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=leash(  # this process has one thread, so nothing can hold a lock here
                signal.SIGTERM if child.program.stops_last else signal.SIGKILL
            ),
        )
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _look_after(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._bury(child)
            if child.start_again_at is not None and now >= child.start_again_at:
                self._start(child)

    def _bury(self, child: Child) -> None:
        """Note a death: its last lines, its leftovers, when to start again."""
        process, program = child.process, child.program
        assert process is not None
        lived_s = time.monotonic() - child.started_at
        self._forget(child)
        if self._stopping or not program.restart:
            return
        child.quick_deaths = 0 if lived_s > STEADY_S else child.quick_deaths + 1
        wait_s = BACKOFF_S[min(child.quick_deaths, len(BACKOFF_S) - 1)]
        how = _how_it_ended(process.returncode)
        if program.vital and not self.is_ready and child.quick_deaths >= 3:
            self._say("house", f"{program.name} {how} three times; giving up.")
            self.stop(1)
            return
        self._say("house", f"{program.name} {how}; starting it again in {wait_s:g} s.")
        child.start_again_at = time.monotonic() + wait_s

    def _forget(self, child: Child) -> None:
        process = child.process
        assert process is not None
        assert process.stdout is not None
        _signal_group(process.pid, signal.SIGKILL)  # a dead web master may leave its workers
        self._read(child)
        if child.tail:
            self._print(child, child.tail)
            child.tail = b""
        self._unregister(child)
        process.stdout.close()
        child.process = None

    def _unregister(self, child: Child) -> None:
        assert child.process is not None
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.process.stdout)  # type: ignore[arg-type]

    # --- stopping --------------------------------------------------------------------------

    def _stop_all(self, children: list[Child], kill_s: float) -> None:
        """TERM; a second TERM to those that want it; KILL for the deaf."""
        began = time.monotonic()
        insisted = False
        for child in children:
            child.start_again_at = None
            if child.process is not None and child.process.poll() is None:
                _signal(child.process.pid, signal.SIGTERM)
        while any(child.process is not None for child in children):
            waited_s = time.monotonic() - began
            if not insisted and waited_s >= SECOND_TERM_S:
                insisted = True
                for child in children:
                    if child.program.insist and child.is_alive and child.process is not None:
                        _signal(child.process.pid, signal.SIGTERM)
            if waited_s >= kill_s or (self._hurry and waited_s >= SECOND_TERM_S):
                for child in children:
                    if child.is_alive and child.process is not None:
                        _signal_group(child.process.pid, signal.SIGKILL)
            self._wait(0.05)
            for child in children:
                if child.process is not None and child.process.poll() is not None:
                    self._forget(child)

    def _on_stop_signal(self, signum: int, frame: object) -> None:
        self._hurry = self._stopping
        self._stopping = True

    # --- output ----------------------------------------------------------------------------

    def _wait(self, wait_s: float) -> None:
        """Pass on what the children print; return at once when one ends or a signal comes."""
        for key, _ in self._selector.select(wait_s):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            else:
                self._read(key.data)

    def _read(self, child: Child) -> None:
        assert child.process is not None
        assert child.process.stdout is not None
        while True:
            try:
                chunk = os.read(child.process.stdout.fileno(), 65536)
            except BlockingIOError:
                return
            if not chunk:  # it closed its output; it may well live on
                self._unregister(child)
                return
            *lines, child.tail = (child.tail + chunk).split(b"\n")
            for line in lines:
                self._print(child, line)

    def _print(self, child: Child, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self._say("" if child.program.raw else child.program.name, text)


def print_line(name: str, text: str) -> None:
    """Print a line with its process in front, and never wait long for whoever reads it.

    A reader that stopped reading (a full pipe) or went away must not keep us from stopping.
    """
    line = f"{name:<9} | {text}\n" if name else f"{text}\n"
    try:
        handle = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file: a test's capture
        sys.stdout.write(line)
        return
    data = line.encode("utf-8", "replace")
    for start in range(0, len(data), select.PIPE_BUF):
        if not select.select([], [handle], [], SLOW_READER_S)[1]:
            return
        try:
            os.write(handle, data[start : start + select.PIPE_BUF])
        except OSError:
            return


def _how_it_ended(returncode: int) -> str:
    if returncode < 0:
        return f"was killed (signal {-returncode})"
    return f"ended (exit code {returncode})"


def _signal(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def _signal_group(pid: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)
