"""What the tests of the API share: ended reports, a server on a port, a reader of event streams."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from flask import Flask
from werkzeug.serving import make_server

from tests.conftest import Api
from webapp import jobs
from webapp.errors import ReportError

REPORT_MEMBERS = [
    "id", "kind", "status", "params", "progress", "company", "requested_by", "created_at",
    "started_at", "finished_at", "error", "links",
]  # fmt: skip


def create(api: Api, params: dict[str, Any], **headers: str) -> Any:
    """Ask for a partner-use report."""
    body = {"kind": "partner-use", "params": params}
    return api.post(
        "/reports", json=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def run(app: Flask, report_id: str) -> None:
    """Run a queued report in this process."""
    with app.app_context(), suppress(ReportError):
        jobs.run_queued(report_id)


def ended(app: Flask, api: Api, params: dict[str, Any]) -> str:
    """Make and run a report; return its id."""
    report_id: str = create(api, params).json["id"]
    run(app, report_id)
    return report_id


def assert_problem(answer: Any, status: int, *fields: str) -> dict[str, Any]:
    """Check an answer for RFC 9457 and return it; `fields` are those that have a sentence."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert {"type", "title", "status", "detail"} <= set(problem)
    assert problem["status"] == status
    assert set(problem.get("errors", {})) == set(fields)
    assert "Traceback" not in answer.text
    return problem


@contextmanager
def serving(app: Flask) -> Iterator[int]:
    """Serve an application on a free port while the block lasts; return the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()


@dataclass
class Stream:
    """What one event stream said: (event, id, data), and its comments."""

    response: HTTPResponse
    connection: HTTPConnection
    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    comments: int = 0

    def read(self, until: int | None = None) -> Stream:
        """Read to the end, or until so many events have come."""
        parts: dict[str, str] = {}
        while until is None or len(self.events) < until:
            line = self.response.readline().decode()
            if not line:
                break
            line = line.rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                parts[name] = value
            elif parts:
                self.events.append((parts["event"], parts["id"], json.loads(parts["data"])))
                parts = {}
        return self

    @property
    def numbers(self) -> list[int]:
        return [data["seq"] for name, _, data in self.events if name == "status"]

    def close(self) -> None:
        self.response.close()
        self.connection.close()


def open_stream(port: int, api: Api, path: str, body: Any = None, **headers: str) -> Stream:
    """Open an event stream as `curl -N` does; with a body by POST."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    basic = b64encode(":".join(api.auth).encode()).decode()
    sent = {"Authorization": f"Basic {basic}"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    if body is None:
        connection.request("GET", f"/api/v1{path}", headers=sent)
    else:
        sent |= {"Content-Type": "application/json", "Accept": "text/event-stream"}
        connection.request("POST", f"/api/v1{path}", json.dumps(body), headers=sent)
    return Stream(connection.getresponse(), connection)
