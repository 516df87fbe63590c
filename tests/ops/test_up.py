"""`flask up` whole: real processes, a real Redis of its own, signals, and nothing left behind."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers import free_port, kill, processes_of, started_at
from tests.soon import SOON_S

ROOT = Path(__file__).parents[2]
FLASK = Path(sys.executable).with_name("flask")
OURS = ("DATABASE_URL", "REDIS_URL", "PARTNER_API_URL", "DATA_DIR", "HOST", "PORT", "SECRET_KEY")


def clean_environ(data_dir: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return kept | {"DATA_DIR": str(data_dir)} | more


class Up:
    """A `flask up` in a session of its own, its output read as it comes."""

    def __init__(self, data_dir: Path, *argv: str, environ: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.data_dir = data_dir
        self.printed = ""
        self.process = subprocess.Popen(
            [str(FLASK), "up", "--port", str(self.port), "--workers", "1", *argv],
            cwd=ROOT,
            env=environ or clean_environ(data_dir),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def wait_for(self, is_true: Callable[[], object], wait_s: float = 60) -> None:
        deadline = time.monotonic() + wait_s
        while not is_true():
            assert time.monotonic() < deadline, self.printed
            assert self.process.poll() is None, self.printed
            time.sleep(0.1)

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: "Ready after" in self.printed)

    def processes(self) -> dict[int, str]:
        return processes_of(self.data_dir)

    def process_id(self, part: str) -> int:
        found = (pid for pid, line in self.processes().items() if part in line)
        return min(found, key=started_at)

    def stop(self, signum: int = signal.SIGINT) -> int:
        """Stop it; return its exit code once it has ended and its output is read."""
        self.process.send_signal(signum)
        code = self.process.wait(timeout=60)
        self._reader.join(60)
        return code

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(60)
        kill(*self.processes())
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    stacks: list[Up] = []
    # A Redis with a longer path than fits into its socket's name lies elsewhere.
    folder = Path(tempfile.mkdtemp(prefix="up-"))

    def start(*argv: str, **more: str) -> Up:
        data_dir = folder / "stack"
        stack = Up(data_dir, *argv, environ=clean_environ(data_dir, **more))
        stacks.append(stack)
        return stack

    yield start
    for stack in stacks:
        stack.clean_up()
    shutil.rmtree(folder)


def ready_status(stack: Up) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def test_the_stack_lives_mends_itself_and_leaves_nothing(up: Callable[..., Up]) -> None:
    stack = up()
    stack.wait_until_ready()
    assert ready_status(stack) == 200

    # A second one on the same folder, and one on the same port.
    second = subprocess.run(
        [FLASK, "up", "--port", str(free_port())],
        cwd=ROOT,
        env=clean_environ(stack.data_dir),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"Another `flask up` (process {stack.process.pid}) already runs" in second.stderr
    same_port = subprocess.run(
        [FLASK, "up", "--port", str(stack.port)],
        cwd=ROOT,
        env=clean_environ(stack.data_dir.with_name("other")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert same_port.returncode == 1
    assert same_port.stderr == (
        f"Port {stack.port} on 127.0.0.1 is taken by another program. Choose another: --port.\n"
    )

    # What is killed comes back: a worker, the web server, Redis itself.
    worker = stack.process_id("worker.py")
    os.kill(worker, signal.SIGKILL)
    stack.wait_for(lambda: "worker 1 was killed (signal 9); starting it again" in stack.printed)
    os.kill(stack.process_id("gunicorn"), signal.SIGKILL)
    os.kill(stack.process_id("-server"), signal.SIGKILL)
    stack.wait_for(lambda: "redis was killed" in stack.printed)
    stack.wait_for(lambda: ready_status(stack) == 200)

    assert stack.stop() == 0, stack.printed
    assert stack.processes() == {}
    assert not (stack.data_dir / "redis" / "redis.sock").exists()


def test_the_demo_shows_two_reports_and_a_sign_in_that_works(up: Callable[..., Up]) -> None:
    stack = up("--demo", PARTNER_SEARCHES_PER_SECOND="0")
    stack.wait_for(lambda: "Ctrl-C" in stack.printed, wait_s=120)
    assert stack.printed.count("The report is done.") == 2
    assert re.search(r"^ +account_count +[\d,]+$", stack.printed, re.MULTILINE)
    assert len(re.findall(r"^  \d{4}-\d{2} +[\d,]+ +-?[\d,]+$", stack.printed, re.MULTILINE)) == 12

    kept = stack.data_dir / "demo.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    sign_in = json.loads(kept.read_text())
    assert sign_in["password"] in stack.printed
    reports = requests.get(
        f"{stack.address}/api/v1/reports",
        auth=(sign_in["api_key"], sign_in["secret"]),
        timeout=60,
    ).json()
    # Two as any program asks for them, and a saved one for each of twelve months.
    assert [report["status"] for report in _items(reports)] == ["done"] * 14
    saved = re.search(r"Saved report: (\S+)/saved/(\S+)", stack.printed)
    assert saved is not None
    runs = requests.get(
        f"{stack.address}/api/v1/definitions/{saved[2]}/runs",
        auth=(sign_in["api_key"], sign_in["secret"]),
        timeout=60,
    ).json()
    assert len(runs) == 12
    inbox = re.search(r"(http://127\.0\.0\.1:\d+)/mail and", stack.printed)
    assert inbox is not None
    stack.wait_for(
        lambda: "Nearly full" in requests.get(f"{inbox[1]}/mail", timeout=60).text, wait_s=120
    )
    stack.wait_for(
        lambda: "webhook-signature: v1," in requests.get(f"{inbox[1]}/hooks", timeout=60).text,
        wait_s=120,
    )
    with requests.Session() as browser:
        form = browser.get(f"{stack.address}/login", timeout=60).text
        token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', form)
        assert token is not None
        signed_in = browser.post(
            f"{stack.address}/login",
            data={
                "csrf_token": token[1],
                "email": sign_in["email"],
                "password": sign_in["password"],
            },
            timeout=60,
        )
        assert signed_in.status_code == 200
        assert browser.get(f"{stack.address}/ops/rq/", timeout=60).status_code == 200

    command_lines = " ".join(stack.processes().values())
    assert sign_in["secret"] not in command_lines
    assert "ZGVtby1zZWNyZXQ=" not in command_lines
    assert stack.stop(signal.SIGTERM) == 0
    assert stack.processes() == {}


def _items(answer: object) -> list[dict[str, str]]:
    if isinstance(answer, dict):
        found = next(value for value in answer.values() if isinstance(value, list))
        return list(found)
    assert isinstance(answer, list)
    return answer


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
@pytest.mark.faults
def test_killing_the_stack_hard_leaves_nothing_and_it_starts_again(up: Callable[..., Up]) -> None:
    # Without a Redis of the machine: the server that comes with the package.
    path = f"{Path(sys.executable).parent}:/nowhere"
    stack = up("--no-sandbox", PATH=path)
    stack.wait_until_ready()
    assert "valkey-server" in " ".join(stack.processes().values())
    assert "stand-in" not in stack.printed
    stack.process.kill()
    stack.process.wait()
    deadline = time.monotonic() + 60
    while stack.processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert stack.processes() == {}

    again = up("--no-sandbox", PATH=path)
    again.wait_until_ready()
    assert again.stop() == 0
    assert again.processes() == {}


@pytest.mark.faults
def test_a_report_in_the_making_is_handed_back_and_goes_on_after_a_restart(
    up: Callable[..., Up],
) -> None:
    slow = up(PARTNER_SEARCHES_PER_SECOND="1")
    slow.wait_until_ready()
    environ = clean_environ(slow.data_dir)
    who = ["ana@example.com", "--company", "Ana & Co", "--role", "admin", "--password-stdin"]
    told = {"env": environ, "cwd": ROOT, "check": True, "timeout": 60, "text": True}
    subprocess.run([FLASK, "user", "create", *who], input="correct horse battery", **told)
    made = subprocess.run([FLASK, "key", "create", who[0]], capture_output=True, **told)
    sign_in = json.loads(made.stdout)
    program = requests.Session()
    program.auth = (sign_in["api_key"], sign_in["secret"])
    params = {
        "partner_id": "70000001",
        "user_key": "demo-user-key",
        "user_secret": "ZGVtby1zZWNyZXQ=",
        "mode": "summary",
    }
    body = {"kind": "partner-use", "params": params}
    report = program.post(f"{slow.address}/api/v1/reports", json=body, timeout=60).json()
    path = report["links"]["self"]

    def now(stack: Up) -> dict[str, Any]:
        found: dict[str, Any] = program.get(f"{stack.address}{path}", timeout=60).json()
        return found

    slow.wait_for(lambda: now(slow)["progress"]["done"] >= 8)
    began = time.monotonic()
    assert slow.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < SOON_S
    assert slow.processes() == {}

    quick = up(PARTNER_SEARCHES_PER_SECOND="0")
    quick.wait_until_ready()
    quick.wait_for(lambda: now(quick)["status"] == "done", wait_s=60)
    lines = program.get(f"{quick.address}{path}/events", timeout=60).text
    assert "The worker was told to stop" in lines
    assert "was lost" not in lines
    assert "ZGVtby1zZWNyZXQ=" not in slow.printed + quick.printed
    assert quick.stop() == 0


@pytest.mark.faults
def test_a_database_that_is_away_ends_it_with_a_sentence(up: Callable[..., Up]) -> None:
    stack = up(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert stack.process.wait(timeout=60) == 1
    stack.clean_up()
    assert "The database could not be brought up to date" in stack.printed
    assert "Traceback" not in stack.printed
    assert stack.processes() == {}
