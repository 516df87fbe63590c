"""A whole stack under fire: `flask up` on a Redis and a database that the test can take away.

The processes are the real ones, supervised as an operator has them; the test holds Redis itself
(stopped, frozen, emptied) and, through `Relay`, the way to Postgres.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import requests
from redis import Redis
from redis.exceptions import RedisError

from tests.conftest import PASSWORD, SECRET_KEY
from tests.servers import free_port, processes_of, started_at
from webapp import create_app
from webapp.accounts import create_key, create_user
from webapp.extensions import db, redis_client
from webapp.ops.embedded_redis import find_binary

ROOT = Path(__file__).resolve().parents[2]
FLASK = Path(sys.executable).with_name("flask")


def until(is_true: Callable[[], Any], seconds: float, said: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


class OwnRedis:
    """A Redis of this test alone, on a port that stays the same when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        argv = [str(find_binary()), "--port", str(self.port), "--bind", "127.0.0.1"]
        argv += ["--dir", str(self._folder), "--appendonly", "yes", "--save", ""]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        until(self.answers, 60)

    def answers(self) -> bool:
        with Redis(port=self.port, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def ask(self, *command: str) -> Any:
        with Redis(port=self.port, socket_timeout=60) as client:
            return client.execute_command(*command)

    def freeze(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(60)
            self._process = None


class Relay:
    """A way to a server through this process, which can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                near.close()
                continue
            far = socket.create_connection(self._to)
            with self._lock:
                self._open |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._goes_on.wait()
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            with self._lock:
                self._open.discard(one)
            one.close()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        self._is_cut = True
        with self._lock:
            left = list(self._open)
        for one in left:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """Take what is sent and new connections, and pass nothing on."""
        self._goes_on.clear()

    def mend(self) -> None:
        self._is_cut = False
        self._goes_on.set()

    def close(self) -> None:
        self.cut()
        self._goes_on.set()
        self._listener.close()


class Stream(threading.Thread):
    """Follows a report as a browser does: comes back with Last-Event-ID until it hears the end."""

    def __init__(self, stack: RunningStack, report_id: str) -> None:
        super().__init__(daemon=True)
        self.numbers: list[int] = []
        self.texts: list[str] = []
        self.end: dict[str, Any] | None = None
        self.times_connected = 0
        self._stack, self._path = stack, f"/api/v1/reports/{report_id}/events"
        self.start()

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while self.end is None and time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                self._listen()
            time.sleep(0.2)

    def _listen(self) -> None:
        last = str(self.numbers[-1]) if self.numbers else ""
        headers = {"Last-Event-ID": last} if last else {}
        address = self._stack.address + self._path
        with requests.get(
            address, auth=self._stack.auth, headers=headers, stream=True, timeout=(5, 20)
        ) as answer:
            if answer.status_code != 200:
                return
            self.times_connected += 1
            kind = ""
            for raw in answer.iter_lines(chunk_size=1):
                line = raw.decode()
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
                    if kind == "end":
                        self.end = data
                        return
                    self.numbers.append(data["seq"])
                    self.texts.append(data["text"])

    def ended(self, seconds: float) -> dict[str, Any]:
        """Return the end once it is heard; every line was heard once and in order."""
        self.join(seconds)
        assert self.end is not None, (self.texts, self._stack.printed[-6000:])
        assert self.numbers == list(range(1, len(self.numbers) + 1)), self.numbers
        return self.end


@dataclass
class RunningStack:
    """A running `flask up` with the people of the tests and a key of the owner."""

    folder: Path
    settings: dict[str, str]
    workers: int = 1
    address: str = ""
    auth: tuple[str, str] = ("", "")
    operator_auth: tuple[str, str] = ("", "")
    process: subprocess.Popen[str] | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def printed(self) -> str:
        return "".join(self.lines)

    def start(self) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        ours = {"DATABASE_URL", "REDIS_URL", "PARTNER_API_URL", "DATA_DIR", "HOST", "PORT"}
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        argv = [str(FLASK), "up", "--port", str(port), "--workers", str(self.workers)]
        self.process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=kept | self.settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        until(lambda: "Ready after" in self.printed, 60, lambda: self.printed)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            self.lines.extend(process.stdout)

    def make_people(self) -> None:
        """Make the people and two keys, past the web server."""
        names = ("DATA_DIR", "DATABASE_URL", "REDIS_URL", "SECRET_KEY")
        app = create_app({name: self.settings[name] for name in names})
        with app.app_context():
            from flask_migrate import upgrade

            upgrade(revision="heads")
            pairs = []
            for name, company, role in (("owner", "Acme", "admin"), ("operator", "It", "operator")):
                user = create_user(f"{name}@example.com", company, role, PASSWORD)
                key, secret = create_key(user, "faults")
                pairs.append((key.key_id, secret))
            self.auth, self.operator_auth = pairs
            db.session.remove()
            db.engine.dispose()
        redis_client(app).close()

    def ask(self, **params: Any) -> str:
        """Start a report through the API; return its id."""
        body = {"kind": "partner-use", "params": params}
        answer = requests.post(
            f"{self.address}/api/v1/reports", json=body, auth=self.auth, timeout=30
        )
        assert answer.status_code == 202, answer.text
        found: str = answer.json()["id"]
        return found

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(f"{self.address}{path}", auth=self.auth, timeout=60, **more)

    def report(self, report_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/api/v1/reports/{report_id}").json()
        return found

    def ready(self) -> tuple[int, dict[str, Any]]:
        answer = requests.get(f"{self.address}/readyz", timeout=60)
        return answer.status_code, answer.json()

    def processes(self) -> dict[int, str]:
        return processes_of(self.settings["DATA_DIR"])

    def numbers_of(self, part: str) -> list[int]:
        """Return the processes whose command holds a text, the oldest first."""
        found = (pid for pid, line in self.processes().items() if part in line)
        return sorted(found, key=started_at)

    def stop(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)
        self.process = None


@contextlib.contextmanager
def running_stack(
    folder: Path, redis_url: str, stand_in_url: str, **settings: str
) -> Iterator[RunningStack]:
    """Run a stack while the block lasts; its SQLite file and its logs are under the folder."""
    folder.mkdir(exist_ok=True)
    workers = int(settings.pop("WORKERS", "1"))
    found = RunningStack(
        folder,
        {
            "DATA_DIR": str(folder),
            "DATABASE_URL": f"sqlite:///{folder / 'app.sqlite3'}",
            "REDIS_URL": redis_url,
            "SECRET_KEY": SECRET_KEY,
            "PARTNER_API_URL": stand_in_url,
            "PARTNER_SEARCHES_PER_SECOND": "0",
            "PARTNER_CALLS_PER_SECOND": "0",
            "HEARTBEAT_SECONDS": "2",
        }
        | settings,
        workers,
    )
    try:
        found.make_people()
        found.start()
        yield found
    finally:
        found.stop()


def answers_http(address: str) -> bool:
    port = int(address.rsplit(":", 1)[1])
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
