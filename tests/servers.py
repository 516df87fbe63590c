"""What tests that start a real web server share."""

from __future__ import annotations

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


def started_at(pid: int) -> int:
    """Return when a process was started, in ticks; numbers of processes begin anew at some time."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has ended
        return sys.maxsize
    return int(stat.rpartition(")")[2].split()[19])


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
