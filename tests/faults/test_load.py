"""2,000 open event streams on one web process, 200 reports queued: nothing lost, all bounded.

Times are measured and printed, never asserted: machines differ. Counts are asserted.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask

from tests.conftest import SECRET_KEY, Api, add_people
from tests.engine.engine_helpers import Steps, begin, start
from tests.faults.faults_helpers import ROOT, OwnRedis, answers_http, until
from tests.servers import GUNICORN, free_port
from webapp.engine import attempt
from webapp.engine.run import Run
from webapp.jobs import transport

pytestmark = pytest.mark.faults

STREAMS = 2000
REPORTS = 200
SPOKEN_OF = 20
LINES = 15
EVERY_S = 0.5


@dataclass
class Reader:
    """One raw event stream: the numbers it heard and how late each line was (seconds)."""

    report_id: str
    numbers: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    up: bool = False
    ended: bool = False
    answer: str = ""

    async def follow(self, port: int, auth: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"GET /api/v1/reports/{self.report_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Authorization: Basic {auth}\r\n\r\n".encode()
            )
            self.answer = (await reader.readline()).decode()
            while (line := await reader.readline()) and not line.startswith(b": still here"):
                pass
            self.up = bool(line)
        try:
            kind = b""
            while line := await reader.readline():
                if line.startswith(b"event: "):
                    kind = line[7:].strip()
                elif line.startswith(b"data: "):
                    data = json.loads(line[6:])
                    if kind == b"end":
                        self.ended = True
                        break
                    self.numbers.append(data["seq"])
                    self.late.append(time.monotonic() - float(data["text"]))
        finally:
            writer.close()


@contextmanager
def web_server(app: Flask, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Run the web server with room for all; its address and the process that serves."""
    port = free_port()
    names = ("DATA_DIR", "DATABASE_URL", "REDIS_URL", "QUEUE")
    env = os.environ | {name: str(app.config[name]) for name in names}
    env |= {
        "SECRET_KEY": SECRET_KEY,
        "PORT": str(port),
        "WEB_THREADS": str(STREAMS + 64),
        "STREAMS_PER_USER_MOST": str(STREAMS),
        "LOG_LEVEL": "warning",
        "PYTHONPATH": str(ROOT),
    }
    with (tmp_path / "web.log").open("wb") as log:
        master = subprocess.Popen(
            [*GUNICORN, "tests.faults.steps_site:app"], cwd=ROOT, env=env, stdout=log, stderr=log
        )
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers_http(address), 60, (tmp_path / "web.log").read_text)
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
        yield address, int(children[0])
    finally:
        master.terminate()
        master.wait(60)


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_two_thousand_streams_and_two_hundred_reports(
    make_app: Callable[..., Flask],
    own_redis: OwnRedis,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * STREAMS:
        pytest.skip(f"{hard} open files are too few for {STREAMS} streams and their readers")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(_soft, 3 * STREAMS), hard))
    app = make_app(report_kinds=(Steps(),), REDIS_URL=own_redis.url)
    add_people(app)
    api = _key(app)
    report_ids = [start(app) for _ in range(REPORTS)]
    with app.app_context():
        for report_id in report_ids:
            assert transport.enqueue(report_id, "steps")
    spoken_of = [begin(app, report_id) for report_id in report_ids[:SPOKEN_OF]]
    readers = [Reader(report_ids[0]) for _ in range(STREAMS // 2)]
    readers += [Reader(report_ids[number % REPORTS]) for number in range(STREAMS // 2)]
    with web_server(app, tmp_path) as (address, pid):
        before_mb = rss_mb(pid)
        pages: list[float] = []
        began = time.monotonic()
        asyncio.run(_scene(app, readers, spoken_of, address, api, pages))
        told = {run.report_id for run in spoken_of}
        for reader in readers:
            wanted = list(range(1, LINES + 1)) if reader.report_id in told else []
            assert reader.numbers == wanted
            assert reader.ended == (reader.report_id in told)
        clients = int(own_redis.ask("INFO", "clients")["connected_clients"])
        late = sorted(one for reader in readers for one in reader.late)
        with capsys.disabled():
            print(
                f"\n{STREAMS} streams, {REPORTS} reports, {len(late)} lines delivered; "
                f"late ms p50 {statistics.median(late) * 1000:.0f}, "
                f"p99 {late[int(len(late) * 0.99)] * 1000:.0f}, max {late[-1] * 1000:.0f}; "
                f"page ms p50 {statistics.median(pages) * 1000:.0f}, max {max(pages) * 1000:.0f}; "
                f"memory {before_mb:.0f} -> {rss_mb(pid):.0f} MB; Redis connections {clients}; "
                f"{time.monotonic() - began:.0f} s in all"
            )
        assert len(late) == LINES * sum(reader.report_id in told for reader in readers)
        # The web process: a pool for pages and one subscription; the test's own clients besides.
        assert clients < 30
        assert own_redis.ask("LLEN", f"rq:queue:{app.config['QUEUE']}") == REPORTS
        # Threads of their own stacks: far less than a connection to Redis each would need.
        assert rss_mb(pid) < 1024


def _key(app: Flask) -> Api:
    from webapp.accounts import create_key, find_user

    with app.app_context():
        user = find_user("owner@example.com")
        assert user is not None
        key, secret = create_key(user, "load")
        return Api(app.test_client(), (key.key_id, secret))


async def _scene(
    app: Flask,
    readers: list[Reader],
    runs: list[Run],
    address: str,
    api: Api,
    pages: list[float],
) -> None:
    auth = base64.b64encode(":".join(api.auth).encode()).decode()
    port = int(address.rsplit(":", 1)[1])
    gate = asyncio.Semaphore(64)
    tasks = [asyncio.create_task(one.follow(port, auth, gate)) for one in readers]
    deadline = time.monotonic() + 120
    while not all(one.up for one in readers):
        assert time.monotonic() < deadline, {one.answer for one in readers}
        await asyncio.sleep(0.1)
    speaking = threading.Thread(target=_speak, args=(app, runs))
    looking = threading.Thread(target=_look, args=(address, api, runs[0].report_id, pages))
    speaking.start()
    looking.start()
    told = {run.report_id for run in runs}
    wanted = [task for task, one in zip(tasks, readers, strict=True) if one.report_id in told]
    await asyncio.wait_for(asyncio.gather(*wanted), 120)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.2)  # closed sockets are let go by the loop's next rounds
    speaking.join()
    looking.join()


def _speak(app: Flask, runs: list[Run]) -> None:
    from tests.engine.engine_helpers import rows_result

    for _ in range(LINES):
        began = time.monotonic()
        for run in runs:
            run.log(f"{time.monotonic():.6f}")
        time.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
    with app.app_context():
        for run in runs:
            attempt.store(run, rows_result())


def _look(address: str, api: Api, report_id: str, pages: list[float]) -> None:
    paths: list[Any] = [f"/api/v1/reports/{report_id}", "/login"]
    for number in range(12):
        began = time.monotonic()
        answer = requests.get(address + paths[number % 2], auth=api.auth, timeout=60)
        assert answer.status_code == 200, answer.text
        pages.append(time.monotonic() - began)
        time.sleep(0.4)
