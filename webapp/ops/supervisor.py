"""The supervisor of one machine's processes: starts them, starts again what dies, stops in order.

It knows nothing of Flask, reports or Redis. One thread waits for output, exits and signals, so that
forking stays safe. Each child has a session of its own, so that Ctrl-C reaches the supervisor alone
and the order of the stop is the supervisor's to choose.

Children end with the process that started them where the kernel can be asked for it (`prctl`, Linux
only): a supervisor that is killed hard would leave Redis and workers behind, and a worker its
work-horse, running and writing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

SECOND_TERM_S = 1.2
KILL_S = 8.0
LAST_KILL_S = 18.0
STEADY_S = 10.0
SLOW_READER_S = 1.0
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_PR_SET_PDEATHSIG = 1
# Loaded before any fork: looking a library up between fork and exec may wait for a lock for ever.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Program:
    """What to run and how it may end.

    restart:    False for something that runs once
    insist:     a second TERM is what makes it stop now (RQ: cold stop)
    stops_last: stopped after all others are gone, because they still need it
    vital:      before all is ready, dying three times in a row ends everything
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
    """A program and its present process; None while it waits to be started again."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float | None = None
    quick_deaths: int = 0
    tail: bytes = field(default=b"", repr=False)

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def is_dead(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def signal(self, signum: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to all that it started, if there is one."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if group else os.kill)(self.process.pid, signum)


class Supervisor:
    """Runs programs until a signal, `stop()`, or the death of a vital one.

    say:  called with a program's name and each line it prints
    tick: called a few times a second while all is well, to find out whether all is ready
    """

    def __init__(
        self,
        *,
        say: Callable[[str, str], None] | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.children: list[Child] = []
        self.is_ready = False
        self.is_stopping = False
        self.exit_code = 0
        self._say = say or print_line
        self._tick = tick
        self._hurry = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    def listen_to_signals(self) -> None:
        """Take over the stop signals; one that was ignored from the start (nohup) stays ignored."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signum in _STOP_SIGNALS:
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                signal.signal(signum, self._on_stop_signal)

    def _on_stop_signal(self, signum: int, frame: object) -> None:
        self._hurry = self.is_stopping
        self.is_stopping = True

    def add(self, program: Program) -> Child:
        """Start a program and keep it running."""
        child = Child(program)
        self.children.append(child)
        self._start_child(child)
        return child

    def stop(self, exit_code: int = 0) -> None:
        """Ask `run` to stop everything and to return this exit code."""
        self.is_stopping = True
        self.exit_code = self.exit_code or exit_code

    def run(self) -> int:
        """Watch the children until told to stop; stop them all; return the exit code."""
        try:
            while not self.is_stopping:
                self._pass_on_output(0.2)
                self._look_after_children()
                if not self.is_stopping:
                    self._tick()
        finally:
            self.shut_down()
        return self.exit_code

    def wait_until(self, is_true: Callable[[], bool], wait_s: float) -> bool:
        """Return whether it became true in time; children's output is passed on meanwhile."""
        deadline = time.monotonic() + wait_s
        while not self.is_stopping and time.monotonic() < deadline:
            if is_true():
                return True
            self._pass_on_output(0.05)
        return False

    def shut_down(self) -> None:
        """Stop everything, those that others need last; nothing is left when this returns."""
        self.is_stopping = True
        alive = [child.program.name for child in self.children if child.is_alive]
        if alive:
            self._say("up", f"Stopping {', '.join(alive)}; Ctrl-C again hurries.")
        first = [child for child in self.children if not child.program.stops_last]
        last = [child for child in self.children if child.program.stops_last]
        self._stop_all(first, kill_s=KILL_S)
        self._stop_all(last, kill_s=LAST_KILL_S - KILL_S)

    # --- starting and starting again -------------------------------------------------------

    def _start_child(self, child: Child) -> None:
        program = child.program
        child.start_again_at = None
        child.started_at = time.monotonic()
        child.process = subprocess.Popen(  # noqa: S603 (our own programs, no shell)
            list(program.argv),
            env=None if program.env is None else dict(program.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # This process has one thread, so nothing can hold a lock between fork and exec.
            preexec_fn=ending_with_us(signal.SIGTERM if program.stops_last else signal.SIGKILL),
        )
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    def _look_after_children(self) -> None:
        for child in self.children:
            if child.is_dead:
                self._plan_restart(child, self._clear_away(child))
            if child.start_again_at is not None and time.monotonic() >= child.start_again_at:
                self._start_child(child)

    def _plan_restart(self, child: Child, exit_code: int) -> None:
        """Decide when a program that died is started again; give up on a vital one."""
        program = child.program
        if self.is_stopping or not program.restart:
            return
        is_steady = time.monotonic() - child.started_at > STEADY_S
        child.quick_deaths = 0 if is_steady else child.quick_deaths + 1
        how = f"ended (exit code {exit_code})"
        if exit_code < 0:
            how = f"was killed (signal {-exit_code})"
        if program.vital and not self.is_ready and child.quick_deaths >= 3:
            self._say("up", f"{program.name} {how} three times; giving up.")
            self.stop(1)
            return
        wait_s = BACKOFF_S[min(child.quick_deaths, len(BACKOFF_S) - 1)]
        self._say("up", f"{program.name} {how}; starting it again in {wait_s:g} s.")
        child.start_again_at = time.monotonic() + wait_s

    def _clear_away(self, child: Child) -> int:
        """Print a dead process' last lines, end what it left behind; return its exit code."""
        process = child.process
        assert process is not None
        assert process.stdout is not None
        child.signal(signal.SIGKILL, group=True)  # a dead web master may leave its workers
        self._read_output(child)
        if child.tail:
            self._print_output(child, child.tail)
            child.tail = b""
        self._stop_reading(child)
        process.stdout.close()
        child.process = None
        return process.returncode

    # --- stopping --------------------------------------------------------------------------

    def _stop_all(self, children: list[Child], kill_s: float) -> None:
        """TERM; a second TERM to those that want it; KILL for the deaf."""
        began = time.monotonic()
        insisted = False
        for child in children:
            child.start_again_at = None
            if child.is_alive:
                child.signal(signal.SIGTERM)
        while any(child.process is not None for child in children):
            waited_s = time.monotonic() - began
            alive = [child for child in children if child.is_alive]
            if not insisted and waited_s >= SECOND_TERM_S:
                insisted = True
                for child in alive:
                    if child.program.insist:
                        child.signal(signal.SIGTERM)
            if waited_s >= kill_s or (self._hurry and waited_s >= SECOND_TERM_S):
                for child in alive:
                    child.signal(signal.SIGKILL, group=True)
            self._pass_on_output(0.05)
            for child in children:
                if child.is_dead:
                    self._clear_away(child)

    # --- output ----------------------------------------------------------------------------

    def _pass_on_output(self, wait_s: float) -> None:
        """Pass on what the children print; return at once when one ends or a signal comes."""
        for key, _ in self._selector.select(wait_s):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            else:
                self._read_output(key.data)

    def _read_output(self, child: Child) -> None:
        assert child.process is not None
        assert child.process.stdout is not None
        while True:
            try:
                chunk = os.read(child.process.stdout.fileno(), 65536)
            except BlockingIOError:
                return
            if not chunk:  # it closed its output; it may well live on
                self._stop_reading(child)
                return
            *lines, child.tail = (child.tail + chunk).split(b"\n")
            for line in lines:
                self._print_output(child, line)

    def _stop_reading(self, child: Child) -> None:
        assert child.process is not None
        assert child.process.stdout is not None
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.process.stdout)

    def _print_output(self, child: Child, line: bytes) -> None:
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


def end_with_parent(parent_pid: int, signum: int) -> None:
    """Ask the kernel to send `signum` to this process when its parent ends."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent_pid:  # it ended before we asked
        os.kill(os.getpid(), signum)


def ending_with_us(signum: int) -> Callable[[], None]:
    """Return what a child of this process calls between fork and exec (`preexec_fn`)."""
    parent_pid = os.getpid()
    return lambda: end_with_parent(parent_pid, signum)
