"""What tests that start a real web server share."""

from __future__ import annotations

import socket
import sys

# The web server as it runs in production; the application may be named after it.
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "python:webapp.ops.gunicorn_conf"]


def free_port() -> int:
    """Return a port of this machine on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
