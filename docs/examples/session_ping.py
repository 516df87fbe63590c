#!/usr/bin/env python3
"""Tell the session manager who is at this computer, and keep what could not be sent.

An example client with the standard library alone. It begins a session, pings once a minute, and
keeps every ping in a file until the server has taken it: after an outage it catches up in order,
each ping with the time it was made. Stop it with Ctrl-C or SIGTERM.

    SESSION_API_KEY=purk_… SESSION_API_SECRET=pur_… \\
    python session_ping.py --url http://127.0.0.1:5000 --login anna --computer pink0001

Use an API key that may only send. The secret is read from the environment, because arguments are
seen by everybody on the computer.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PREFIX = "/api/session-manager"
AT_ONCE = 500
TIMEOUT_S = 10
Ping = dict[str, Any]


class Refused(Exception):
    """The server understood and said no; sending the same again would not help."""

    def __init__(self, status: int, message: str, data: Any = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.data = data


class Away(Exception):
    """The server could not be reached or could not answer; worth sending again."""


class Server:
    """The session manager behind a URL and a key."""

    def __init__(self, url: str, key: str, secret: str) -> None:
        if not url.startswith(("https://", "http://")):
            raise SystemExit("--url must begin with https:// (or http:// on your own network)")
        self._url = url.rstrip("/") + PREFIX
        credentials = base64.b64encode(f"{key}:{secret}".encode()).decode()
        self._headers = {
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/json",
        }

    def post(self, path: str, body: Any) -> Any:
        """Return the answer's JSON; raises Refused or Away."""
        request = urllib.request.Request(  # noqa: S310  # the scheme is checked above
            self._url + path, json.dumps(body).encode(), self._headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise _failure(error) from None
        except (OSError, ValueError) as error:
            raise Away(str(error)) from None


def _failure(error: urllib.error.HTTPError) -> Exception:
    if error.code >= 500 or error.code in (408, 429):
        return Away(f"the server answers {error.code}")
    try:
        body = json.loads(error.read())
    except ValueError:
        body = {}
    return Refused(error.code, body.get("message", error.reason), body.get("data"))


class Spool:
    """Unsent pings in a file, a line each, on disk before anything is sent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.pings: list[Ping] = list(self._read())

    def _read(self) -> Iterator[Ping]:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                # The computer stopped while it wrote this line; the ping is lost, the rest is not.
                continue

    def add(self, ping: Ping) -> None:
        """Keep a ping."""
        self.pings.append(ping)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(ping) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def drop(self, count: int) -> None:
        """Forget the oldest pings, which the server has taken."""
        self.pings = self.pings[count:]
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(ping) + "\n" for ping in self.pings), "utf-8")
        fresh.replace(self._path)


def now_text() -> str:
    """Return this computer's time, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def catch_up(server: Server, spool: Spool) -> int:
    """Send what is kept, oldest first; return how many pings were taken. Raises Away, Refused."""
    taken = 0
    while spool.pings:
        batch = spool.pings[:AT_ONCE]
        verdicts = _send(server, batch)
        for ping, verdict in zip(batch, verdicts, strict=True):
            taken += verdict["status"] == 201
            if verdict["status"] != 201:
                print(f"not taken, {ping['date_time']}: {verdict['message']}", file=sys.stderr)
        spool.drop(len(batch))
    return taken


def _send(server: Server, batch: list[Ping]) -> list[dict[str, Any]]:
    """Send pings, a session's start by itself and the others in one list; return the verdicts."""
    verdicts: list[dict[str, Any]] = []
    pings: list[Ping] = []
    for ping in batch:
        if "comp_name" not in ping:
            pings.append(ping)
            continue
        verdicts += _send_list(server, pings)
        pings = []
        try:
            server.post("/session", ping)
            verdicts.append({"status": 201})
        except Refused as error:
            if error.status in (401, 403):
                raise
            verdicts.append({"status": error.status, "message": str(error)})
    return verdicts + _send_list(server, pings)


def _send_list(server: Server, pings: list[Ping]) -> list[dict[str, Any]]:
    verdicts: list[dict[str, Any]] = server.post("/activity", pings)["data"] if pings else []
    return verdicts


def run(options: argparse.Namespace, server: Server, stop: threading.Event) -> None:
    """Begin a session and ping until told to stop."""
    spool = Spool(Path(options.spool))
    session_id = str(uuid.uuid4())
    common = {"login": options.login, "next_ping_sec": options.every}
    begin = {"id": session_id, "comp_name": options.computer, "ip_addr": options.address}
    ping = {"session_id": session_id, "session_type": options.event}
    spool.add(begin | common | {"date_time": now_text()})
    while True:
        try:
            taken = catch_up(server, spool)
            print(f"{taken} taken", flush=True)
        except Away as error:
            print(f"{len(spool.pings)} kept: {error}", file=sys.stderr, flush=True)
        if stop.wait(options.every):
            return
        spool.add(ping | common | {"date_time": now_text()})


def main() -> int:
    """Read the options and run; return the exit code."""
    parser = argparse.ArgumentParser(description="Report who is at this computer.")
    parser.add_argument("--url", required=True, help="where the server is")
    parser.add_argument("--login", required=True)
    parser.add_argument("--computer", required=True)
    parser.add_argument("--address", default="", help="IP address of this computer")
    parser.add_argument("--event", default="", help="what the time is spent on, e.g. platform zero")
    parser.add_argument("--every", type=int, default=60, help="seconds between pings")
    parser.add_argument("--spool", default="session_pings.jsonl", help="file of unsent pings")
    options = parser.parse_args()
    try:
        key, secret = os.environ["SESSION_API_KEY"], os.environ["SESSION_API_SECRET"]
    except KeyError as error:
        parser.error(f"{error.args[0]} is not set")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(options, Server(options.url, key, secret), stop)
    except Refused as error:
        print(f"The server refuses this key: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
