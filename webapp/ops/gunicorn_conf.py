"""How gunicorn serves the application: one process of threads, an open event stream holding one.

gthread and not gevent: SQLite under gevent stops the whole process for the length of a query.
With Postgres a process per core, unless WEB_PROCESSES says otherwise.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from types import FrameType
from typing import Any

from gunicorn.glogging import Logger
from sqlalchemy import create_engine

from webapp.config import BadSetting, load_settings
from webapp.data_dir import complete_settings
from webapp.databases import engine_options, wait_briefly
from webapp.extensions import db
from webapp.installation import check_key, wait_for_key
from webapp.ops import logs, processes

MOST_WAITING = 4096


def open_files() -> int:
    """Return how many files this process may have open, after asking for as many as it may ask."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return found if found != resource.RLIM_INFINITY else 2**20


# All of them, so that a bad one ends the server and not one worker process after the other.
_settings = complete_settings(load_settings())

wsgi_app = "wsgi:app"
bind = [f"{_settings['HOST']}:{_settings['PORT']}"]
worker_class = "webapp.ops.web_worker.PatientWorker"
workers = _settings["WEB_PROCESSES"]
threads = _settings["WEB_THREADS"]
# A stream has two files open, a connection one; who sends no request holds no thread.
worker_connections = threads + max(min(MOST_WAITING, open_files() - 2 * threads - 128), 64)
# A thread that waits in a stream is not a hung one: silence is no reason to kill the process.
timeout = 0
graceful_timeout = 3
keepalive = 15
backlog = 2048
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112, S108
accesslog = None
errorlog = "-"
loglevel = "warning"


class ServerLog(Logger):
    """gunicorn's own log, without a line for each answer.

    Those would hold queries and invitations; `webapp.access` tells the same without them.
    """

    def access(self, *_: Any) -> None:
        """Make no line, not even one that nobody writes."""


logger_class = ServerLog
logconfig_dict = logs.settings("web", _settings["LOG_FORMAT"], _settings["LOG_LEVEL"])
proc_name = "partner-use-report"


def on_starting(_server: Any) -> None:
    """End the server, before it has processes, where the database knows another SECRET_KEY."""
    engine = create_engine(_settings["DATABASE_URL"], **engine_options(_settings["DATABASE_URL"]))
    check_key(engine, _settings["SECRET_KEY"], _settings["SECRET_KEY_PREVIOUS"])
    engine.dispose()


def post_worker_init(worker: Any) -> None:
    """Let the stop signal end the open streams, which would wait for their reports otherwise."""
    with worker.wsgi.app_context():
        wait_briefly(db.engine)
    threading.Thread(target=_compare_keys, args=(worker.wsgi,), daemon=True).start()
    processes.keep_telling(worker.wsgi)
    hub = worker.wsgi.extensions["line_hub"]

    def stop(signum: int, frame: FrameType | None) -> None:
        # In a thread: the handler may have interrupted whoever holds the hub's lock.
        threading.Thread(target=hub.close, name="close-streams").start()
        worker.handle_exit(signum, frame)

    signal.signal(signal.SIGTERM, stop)


def _compare_keys(app: Any) -> None:
    """End the server as well where the database was away when it started, and knows another key."""
    with app.app_context():
        try:
            wait_for_key("web server")
        except BadSetting:
            os.kill(os.getppid(), signal.SIGTERM)


def worker_int(worker: Any) -> None:
    """End the open streams on Ctrl-C, too: their threads would keep the process."""
    threading.Thread(target=worker.wsgi.extensions["line_hub"].close, name="close-streams").start()
