"""`flask up`: every process of one machine, started in order and watched by the supervisor.

Redis (unless REDIS_URL names one), the stand-in partner API (unless PARTNER_API_URL names one), the
workers, the janitor and the web server. Nothing is started before the folder is ours alone, the
port is free and the database is at its newest version.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask

from webapp.data_dir import LOCK_FILE, STAND_IN_FILE
from webapp.errors import ReportError
from webapp.extensions import db
from webapp.installation import check_key
from webapp.ops import embedded_redis, logs
from webapp.ops.supervisor import Program, Supervisor, print_line
from webapp.security import secret_keys

ROOT = Path(__file__).resolve().parents[2]
FLASK = [sys.executable, "-m", "flask", "--app", str(ROOT / "wsgi.py")]
SANDBOX_PORT = 9700
MAIL_PORT = 9725
SANDBOX_TEMPLATE = "http://127.0.0.1:{port}/{{namespace}}.{{data_center}}"
READY_EVERY_S = 0.25
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Plan:
    """What `flask up` was asked for."""

    host: str
    port: int
    workers: int = 2
    sandbox: bool = True
    demo: bool = False


class LocalStack:
    """The processes of one machine. `run` returns the exit code, with none of them left."""

    def __init__(self, app: Flask, plan: Plan) -> None:
        self.app = app
        self.plan = plan
        self.data_dir = Path(app.config["DATA_DIR"])
        # People read a terminal, and the demo is for people; all else is read by a collector.
        is_for_people = plan.demo or sys.stdout.isatty()
        default_format = "text" if is_for_people else app.config["LOG_FORMAT"]
        self.log_format = os.environ.get("LOG_FORMAT") or default_format
        self.supervisor = Supervisor(tick=self._start_demo_when_ready, say=self._print)
        self.environ = dict(os.environ)
        self._next_look_at = 0.0
        self._started_at = time.monotonic()

    def run(self) -> int:
        """Start everything, watch it until told to stop, stop it."""
        with folder_lock(self.data_dir):
            (self.data_dir / STAND_IN_FILE).unlink(missing_ok=True)
            self.say("Starting: Redis, database, partner, workers, janitor, web server…")
            port = free_port(self.plan.host, self.plan.port)
            self.address = f"http://{_url_host(self.plan.host)}:{port}"
            self._prepare_environ(port)
            self.supervisor.listen_to_signals()
            steps = (self._start_redis, self._migrate, self._start_partner, self._start_application)
            try:
                for start in steps:
                    if not self.supervisor.is_stopping:
                        start()
            except BaseException:
                self.supervisor.shut_down()
                raise
            code = self.supervisor.run()
            (self.data_dir / STAND_IN_FILE).unlink(missing_ok=True)
        self.say("Everything has stopped.")
        return code

    def say(self, text: str) -> None:
        """Print a line of the launcher itself."""
        self._print("up", text)

    def _print(self, name: str, text: str) -> None:
        if self.log_format == "json":
            print_line("", logs.program_line(name or "demo", text))
        else:
            print_line(name, text)

    # --- in order --------------------------------------------------------------------------

    def _prepare_environ(self, port: int) -> None:
        """Set what children must agree on; no secret is put there that was not there before."""
        before = self.environ.get("PYTHONPATH")
        self.environ |= {
            "DATA_DIR": str(self.data_dir),
            "HOST": self.plan.host,
            "PORT": str(port),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *([before] if before else [])]),
            "PYTHONUNBUFFERED": "1",
            "LOG_FORMAT": self.log_format,
        }
        if self.plan.demo:
            self.environ.setdefault("LOG_LEVEL", "warning")

    def _start_redis(self) -> None:
        url = self.app.config["REDIS_URL"]
        if not self.app.config["REDIS_EMBEDDED"]:
            if not embedded_redis.answers(url):
                self.say("Redis does not answer: is REDIS_URL right? Reports wait until it does.")
            return
        if embedded_redis.answers(url):
            self.say("An embedded Redis of an earlier run is still there; stopping it.")
            embedded_redis.stop_leftover(url)
        self.supervisor.add(embedded_redis.program(url, self.data_dir))
        if self.supervisor.wait_until(lambda: embedded_redis.answers(url), 20):
            embedded_redis.forget_dead_workers(self.app)
            self.say("Redis is up (embedded).")
        elif not self.supervisor.is_stopping:
            log = embedded_redis.log_path(self.data_dir)
            raise ReportError(f"The embedded Redis did not start; its log is {log}.")

    def _migrate(self) -> None:
        """Bring the database to the newest version, before anything uses it."""
        from flask_migrate import upgrade

        with self.app.app_context():
            try:
                upgrade(revision="heads")
                check_key(db.engine, *secret_keys())
            finally:
                db.engine.dispose()
        self.say("The database is up to date.")

    def _start_partner(self) -> None:
        """Start the stand-in partner API where no partner API is named, and tell the children."""
        if self.app.config["PARTNER_API_URL"] or not self.plan.sandbox:
            return
        port = free_port("127.0.0.1", SANDBOX_PORT, or_another=True)
        self.environ["PARTNER_API_URL"] = SANDBOX_TEMPLATE.format(port=port)
        # Commands that are given on this folder ask it, too.
        (self.data_dir / STAND_IN_FILE).write_text(self.environ["PARTNER_API_URL"], "ascii")
        argv = [sys.executable, "-m", "sandbox", "--port", str(port)]
        if self.plan.demo and not self.app.config["SMTP_URL"]:
            argv += ["--mail-port", str(self._catch_mails(port))]
        self.supervisor.add(Program("partner", argv, self.environ))
        self.say(f"The partner API is the stand-in, on port {port}: no real partner is asked.")

    def _catch_mails(self, port: int) -> int:
        """Let what the demo sends out end on this machine; return the mail server's port."""
        mail_port = free_port("127.0.0.1", MAIL_PORT, or_another=True)
        self.environ["SMTP_URL"] = f"smtp://127.0.0.1:{mail_port}?tls=none"
        self.environ.setdefault("MAIL_FROM", "reports@demo.example")
        # The demo's webhook goes to the stand-in.
        self.environ.setdefault("FETCH_PRIVATE_ADDRESSES", "true")
        self.say(f"Mails and webhooks of the demo: http://127.0.0.1:{port}/mail and /hooks.")
        return mail_port

    def _start_application(self) -> None:
        worker = [sys.executable, str(ROOT / "worker.py")]
        conf = f"file:{ROOT / 'webapp' / 'ops' / 'gunicorn_conf.py'}"
        web = [sys.executable, "-m", "gunicorn", "--config", conf]
        env = self.environ
        for number in range(1, self.plan.workers + 1):
            self.supervisor.add(Program(f"worker {number}", worker, env, insist=True))
        self.supervisor.add(Program("janitor", [*FLASK, "janitor"], env))
        self.supervisor.add(Program("web", web, env, vital=True))

    def _start_demo_when_ready(self) -> None:
        """Until it is ready, ask a few times a second whether it is."""
        if self.supervisor.is_ready or time.monotonic() < self._next_look_at:
            return
        self._next_look_at = time.monotonic() + READY_EVERY_S
        partner_url = self.environ.get("PARTNER_API_URL", "")
        if not is_ready(self.address) or (is_stand_in(partner_url) and not _accepts(partner_url)):
            return
        self.supervisor.is_ready = True
        self.say(f"Ready after {time.monotonic() - self._started_at:.1f} s: {self.address}")
        if self.plan.demo and not is_stand_in(partner_url):
            self.say("The partner API is a real one, so no demo is made.")
        elif self.plan.demo:
            argv = [*FLASK, "demo", "--url", self.address]
            self.supervisor.add(Program("demo", argv, self.environ, restart=False, raw=True))


# --- what is asked of the machine ----------------------------------------------------------


@contextlib.contextmanager
def folder_lock(data_dir: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises: ReportError when another `flask up` holds it
    """
    path = data_dir / LOCK_FILE
    with path.open("a+", encoding="ascii") as file:
        file.seek(0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = file.read().strip() or "unknown"
            raise ReportError(
                f"Another `flask up` (process {pid}) already runs on {data_dir}. "
                "Stop it first, or set DATA_DIR to another folder."
            ) from error
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def free_port(host: str, port: int, *, or_another: bool = False) -> int:
    """Return the port when nothing listens there; 0 gives any free one.

    Raises: ReportError when it is taken (and no other will do) or cannot be had
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except socket.gaierror as error:
        raise ReportError(f"HOST: {host} is not an address of this machine.") from error
    except OSError as error:
        if or_another:
            return free_port(host, 0)
        if error.errno == errno.EADDRINUSE:
            raise ReportError(
                f"Port {port} on {host} is taken by another program. Choose another: --port."
            ) from error
        raise ReportError(f"Port {port} on {host} cannot be used: {error.strerror}.") from error


def is_stand_in(partner_url: str) -> bool:
    """Return whether this template names a stand-in: a host of this machine."""
    return urlsplit(partner_url).hostname in LOOPBACK


def is_ready(address: str) -> bool:
    """Return whether `/readyz` says that everything works."""
    parts = urlsplit(address)
    with contextlib.closing(
        http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    ) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


def _accepts(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1):
            return True
    except OSError:
        return False


def _url_host(host: str) -> str:
    """Return the host as a browser on this machine would write it."""
    if host in {"0.0.0.0", "", "::"}:  # noqa: S104
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
