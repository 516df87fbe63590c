"""A real site inside a test: gunicorn, one worker, and the means to start and stop each of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import flask_migrate
from redis import Redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer
from tally import Tally

from tests.conftest import add_people, find_scope
from tests.servers import GUNICORN, free_port
from webapp import create_app
from webapp.engine import service
from webapp.extensions import db, redis_client

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
READY_S = 60.0


@dataclass
class Site:
    """A running site. `base_url` stays the same when its web server is started again."""

    port: int
    environ: dict[str, str]
    folder: Path
    web: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_report(self, who: str = "owner", **params: Any) -> str:
        """Start a report as a program would, past the form; return its id."""
        names = ("DATA_DIR", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "QUEUE")
        app = create_app({name: self.environ[name] for name in names}, report_kinds=[Tally()])
        with app.app_context():
            raw = {"topic": "apples"} | params
            report_id = service.start_report(find_scope(app, who), "tally", raw).report.id
            db.session.remove()
            db.engine.dispose()
        redis_client(app).close()
        return report_id

    def start_web(self) -> None:
        """Start gunicorn with the real settings and wait until it answers."""
        self.web = self._spawn([*GUNICORN, "tally_site:app"], "web.log")
        deadline = time.monotonic() + READY_S
        while not self._answers():
            if self.web.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "web.log").read_text("utf-8"))
            time.sleep(0.05)

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/login")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def stop_web(self) -> None:
        """Stop gunicorn at once, as a crash would."""
        if self.web:
            self.web.kill()
            self.web.wait(10)
            self.web = None

    def start_worker(self) -> None:
        """Start a worker and wait until it takes reports."""
        log = f"worker{len(self.workers)}.log"
        worker = self._spawn([sys.executable, str(HERE / "tally_site.py"), "work"], log)
        self.workers.append(worker)
        deadline = time.monotonic() + READY_S
        with Redis.from_url(self.environ["REDIS_URL"]) as redis:
            queue = Queue(self.environ["QUEUE"], connection=redis, serializer=JSONSerializer)
            while Worker.count(queue=queue) < len(self.workers):
                if worker.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / log).read_text("utf-8"))
                time.sleep(0.05)

    def stop(self) -> None:
        """End every process of this site."""
        for worker in self.workers:
            worker.terminate()
        self.stop_web()
        for worker in self.workers:
            try:
                worker.wait(5)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait(5)

    def _spawn(self, argv: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(argv, cwd=HERE, env=self.environ, stdout=file, stderr=file)


@contextmanager
def running(folder: Path, redis_url: str, **settings: str) -> Iterator[Site]:
    """Run a site with its own database under `folder`, its people made, one worker at work."""
    port = free_port()
    config = {
        "DATA_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'site.sqlite3'}",
        "REDIS_URL": redis_url,
        "SECRET_KEY": "a key that only the site of these tests uses",
        "QUEUE": f"site-{port}",
        "HEARTBEAT_SECONDS": "1",
        "SIGN_IN_TRIES": "1000 per minute",
    } | settings
    _prepare(config)
    site = Site(
        port,
        {
            **os.environ,
            **config,
            "PORT": str(port),
            "HOST": "127.0.0.1",
            "WEB_THREADS": "32",
            "PYTHONPATH": os.pathsep.join((str(HERE), str(ROOT))),
        },
        folder,
    )
    try:
        site.start_web()
        site.start_worker()
        yield site
    finally:
        site.stop()


def _prepare(config: dict[str, str]) -> None:
    typed = {name: value for name, value in config.items() if name != "HEARTBEAT_SECONDS"}
    app = create_app(typed, report_kinds=[Tally()])
    with app.app_context():
        flask_migrate.upgrade()
        add_people(app)
        db.session.remove()
        db.engine.dispose()
    redis_client(app).close()
