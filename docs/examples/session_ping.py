#!/usr/bin/env python3
"""Tell the session manager who is at this computer, and keep what could not be sent.

An example client with the standard library alone. It begins a session, pings once a minute, and
keeps every ping in a file until the server has taken it: after an outage it catches up in order,
each ping with the time it was made. A session that may not begin yet (its login is still online at
another computer, or not known to the server yet) waits in the file with its pings, and is tried
again with every ping. A value the server cannot use costs no ping: what may be left out is left
out, what may not is kept until it is put right. Ctrl-C or SIGTERM end the session and stop it.

    SESSION_API_KEY=purk_… SESSION_API_SECRET=pur_… \\
    python session_ping.py --url http://127.0.0.1:5000 --login anna --computer pink0001

Use an API key that may only send. The secret is read from the environment, because arguments are
seen by everybody on the computer.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

PREFIX = "/api/session-manager"
AT_ONCE = 500
TIMEOUT_S = 10
TRY_AGAIN = 0
# What a ping or a start may lack; each of them is used where it can be.
EXTRAS = {"ip_addr", "session_type", "sent_at"}
Ping = dict[str, Any]


class Refused(Exception):
    """The server understood and said no; sending the same again would not help."""

    def __init__(self, status: int, message: str, data: Any = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.data = data


class Away(Exception):
    """The server could not be reached, or answered nothing about what was sent; send it again."""


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
    if error.code not in (400, 401, 403, 409):
        return Away(f"the server answers {error.code}")
    try:
        body = json.loads(error.read())
    except ValueError:
        body = None
    body = body if isinstance(body, dict) else {}
    return Refused(error.code, body.get("message", error.reason), body.get("data"))


class Spool:
    """Unsent pings in a file, a line each, on disk before anything is sent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.pings: list[Ping] = list(self._read())
        if path.exists():
            # A line that was written by half would spoil the next one.
            self._rewrite()

    def _read(self) -> Iterator[Ping]:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                ping = json.loads(line)
            except ValueError:
                # The computer stopped while it wrote this line; the ping is lost, the rest is not.
                continue
            if isinstance(ping, dict):
                yield ping

    def add(self, ping: Ping) -> None:
        """Keep a ping."""
        self.pings.append(ping)
        with self._path.open("a", encoding="utf-8") as file:
            _write(file, [ping])

    def replace(self, ping: Ping, better: Ping) -> None:
        """Put a ping that can be taken in the place of one that cannot."""
        self.pings = [better if one is ping else one for one in self.pings]
        self._rewrite()

    def drop(self, sent: list[Ping]) -> None:
        """Forget pings of `pings` that need not be sent again."""
        gone = {id(ping) for ping in sent}
        self.pings = [ping for ping in self.pings if id(ping) not in gone]
        self._rewrite()

    def _rewrite(self) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            _write(file, self.pings)
        fresh.replace(self._path)


def _write(file: TextIO, pings: list[Ping]) -> None:
    file.writelines(json.dumps(ping) + "\n" for ping in pings)
    file.flush()
    os.fsync(file.fileno())


def now_text() -> str:
    """Return this computer's time, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def catch_up(server: Server, spool: Spool, until: float = math.inf) -> int:
    """Send what is kept, oldest first; return how many pings were taken. Raises Away, Refused.

    A session that may not begin yet stays in the spool with its pings; the others go on.
    until: when (by `time.monotonic`) the next ping is due; the rest is then sent after it
    """
    taken = 0
    waiting: set[str] = set()
    while time.monotonic() < until:
        ready = [ping for ping in spool.pings if _session_of(ping) not in waiting]
        if not ready:
            break
        if _is_start(ready[0]):
            sent = ready[:1]
            verdicts = [_begin(server, ready[0])]
        else:
            sent = list(takewhile(lambda ping: not _is_start(ping), ready[:AT_ONCE]))
            stamped = [ping | {"sent_at": now_text()} for ping in sent]
            verdicts = server.post("/activity", stamped)["data"]
        done = []
        for ping, verdict in zip(sent, verdicts, strict=True):
            taken += verdict["status"] == 201
            if verdict["status"] != 201:
                print(f"not taken, {ping['date_time']}: {verdict['message']}", file=sys.stderr)
            if verdict["status"] == 400 and (bare := _without_extras(ping)):
                spool.replace(ping, bare)
            elif verdict["status"] == TRY_AGAIN:
                waiting.add(_session_of(ping))
            else:
                done.append(ping)
        spool.drop(done)
    return taken


def _without_extras(ping: Ping) -> Ping | None:
    """Return a ping without what may be left out; None where it has nothing of the kind."""
    bare = {name: value for name, value in ping.items() if name not in EXTRAS}
    return bare if bare != ping else None


def _is_start(ping: Ping) -> bool:
    return "comp_name" in ping


def _session_of(ping: Ping) -> str:
    return str(ping["id"] if _is_start(ping) else ping.get("session_id"))


def _begin(server: Server, start: Ping) -> dict[str, Any]:
    """Send a session's start; return the verdict, TRY_AGAIN where the same may be taken later."""
    try:
        # By its clock now the server knows how far that is off.
        server.post("/session", start | {"sent_at": now_text()})
    except Refused as error:
        if error.status in (401, 403):
            raise
        if _may_be_taken_later(error, start):
            return {"status": TRY_AGAIN, "message": f"{error} It is kept and sent again."}
        return {"status": error.status, "message": str(error)}
    return {"status": 201}


def _may_be_taken_later(error: Refused, start: Ping) -> bool:
    """Say whether a start waits: for a session elsewhere to end, or for a value to be put right."""
    data = error.data if isinstance(error.data, dict) else {}
    if error.status == 409:
        # Its own id in the answer: that session was begun with another body, for good.
        return data.get("id") != start["id"]
    # A value that may be left out is left out; whoever put the others right sends the rest again.
    wrong = set(data.get("errors") or ())
    return bool(wrong) and not wrong & EXTRAS


def run(options: argparse.Namespace, server: Server, stop: threading.Event) -> None:
    """Begin a session and ping at fixed times until told to stop."""
    spool = Spool(Path(options.spool))
    session_id = str(uuid.uuid4())
    common = {"login": options.login, "next_ping_sec": options.every}
    begin = {"id": session_id, "comp_name": options.computer, "ip_addr": options.address}
    ping = {"session_id": session_id, "session_type": options.event}
    spool.add(begin | common | {"date_time": now_text()})
    next_at = time.monotonic()
    while True:
        # However long sending takes, the next ping keeps the promise of this one.
        next_at = max(next_at + options.every, time.monotonic())
        try:
            taken = catch_up(server, spool, next_at)
            print(f"{taken} taken", flush=True)
        except Away as error:
            print(f"{len(spool.pings)} kept: {error}", file=sys.stderr, flush=True)
        if stop.wait(max(next_at - time.monotonic(), 0)):
            # Nobody sits here any more, whatever the ping before has promised.
            spool.add(ping | common | {"next_ping_sec": 0, "date_time": now_text()})
            with suppress(Away):
                catch_up(server, spool)
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
