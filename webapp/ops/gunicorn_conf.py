"""How gunicorn serves the application: one process of threads, an open event stream holding one.

gthread and not gevent: SQLite under gevent stops the whole process for the length of a query.
One process unless WEB_PROCESSES says more (with Postgres: SQLite's writers would queue up).
"""

import os

from webapp.config import load_settings

_settings = load_settings()

wsgi_app = "wsgi:app"
bind = [f"{_settings['HOST']}:{_settings['PORT']}"]
worker_class = "gthread"
workers = _settings["WEB_PROCESSES"]
threads = _settings["WEB_THREADS"]
worker_connections = threads + 512
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
proc_name = "partner-use-report"
