"""What tests that start a real web server share."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from flask import Flask
from werkzeug.serving import make_server

# The web server as it runs in production; the application may be named after it.
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:webapp.ops.gunicorn_conf"]


def free_port() -> int:
    """Return a port of this machine on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes_of(data_dir: Path | str) -> dict[int, str]:
    """Return the command lines of a stack's processes, by number: all that know its DATA_DIR."""
    found = {}
    mark = f"DATA_DIR={data_dir}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            environ = (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "cmdline").read_bytes().split(b"\0")
            line = b" ".join(words).decode("utf-8", "replace").strip()
            if line and (mark in environ or str(data_dir) in line):
                found[int(folder.name)] = line
    return found


def started_at(pid: int) -> int:
    """Return when a process was started, in ticks; numbers of processes begin anew at some time."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has ended
        return sys.maxsize
    return int(stat.rpartition(")")[2].split()[19])


def kill(*pids: int) -> None:
    """Kill processes; those that died with another one of them are gone already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve an application of this process, for a browser; yield its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
