"""The Python client against a running site, and against one that is away for a moment."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
from flask import Flask

from tests.conftest import Api
from tests.servers import serving

sys.path.insert(0, str(Path(__file__).parents[1] / "clients" / "python"))
from partner_use_report_client import Client, Problem

Params = Callable[..., dict[str, Any]]


@pytest.fixture
def client(app: Flask, api_for: Callable[[str], Api]) -> Iterator[Client]:
    with serving(app) as address:
        found = Client(address, *api_for("owner").auth)
        yield found
        found.http.close()


def test_a_report_is_asked_for_once_under_its_key(client: Client, partner_use: Params) -> None:
    first = client.create_report("partner-use", partner_use(), idempotency_key="one")
    again = client.create_report("partner-use", partner_use(), idempotency_key="one")
    other = client.create_report("partner-use", partner_use())
    assert first["id"] == again["id"] != other["id"]
    assert client.report(first) == client.report(first["id"])


def test_waiting_has_an_end(client: Client, partner_use: Params) -> None:
    report = client.create_report("partner-use", partner_use())
    with pytest.raises(TimeoutError, match="still queued"):
        client.wait(report, timeout_s=0.2)
    client.delete(report)
    assert client.wait(report)["status"] == "cancelled"
    assert [event.name for event in client.events(report)] == ["status", "end"]


def test_lists_are_read_to_their_end(client: Client, partner_use: Params) -> None:
    made = [client.create_report("partner-use", partner_use())["id"] for _ in range(21)]
    assert [report["id"] for report in client.reports(kind="partner-use")] == made[::-1]
    assert list(client.reports(status="done")) == []
    assert "partner-use" in [kind["kind"] for kind in client.kinds()]


def test_what_is_refused_is_a_problem_with_its_type(client: Client, app: Flask) -> None:
    with pytest.raises(Problem) as refused:
        client.estimate("partner-use", {"partner_id": "seventy"})
    assert (refused.value.status, refused.value.type) == (422, "/api/errors/invalid-params")
    assert "partner_id" in refused.value.errors
    client.http.auth = ("purk_none", "wrong")
    with pytest.raises(Problem, match="401 Sign in first"):
        client.kinds()


@pytest.fixture
def moody() -> Iterator[tuple[str, list[tuple[str, str]], list[Any]]]:
    """Return a site that answers from a list, and what came.

    Shape: a status, or None: it hangs up; or a status, headers and the body
    """
    asked: list[tuple[str, str]] = []
    answers: list[Any] = []

    class Moody(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            key = "Idempotency-Key" if self.command == "POST" else "Last-Event-ID"
            asked.append((f"{self.command} {self.path}", self.headers.get(key, "")))
            answer = answers.pop(0)
            if answer is None:
                self.close_connection = True
                return
            if isinstance(answer, int):
                answer = (answer, {"Retry-After": "0"}, b"[]" if answer != 503 else b"no")
            status, headers, body = answer
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 (the names are the library's)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked, answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_safe_is_sent_again_and_nothing_else(moody: Any) -> None:
    address, asked, answers = moody
    client = Client(address, "key", "secret", tries=3)
    answers += [None, 503, 200]
    assert client.kinds() == []
    answers += [503, None, 202]
    client.create_report("partner-use", {})
    assert len({key for request, key in asked if request.startswith("POST")}) == 1
    answers += [503]
    with pytest.raises(Problem, match="503"):
        client.retry("any")
    answers += [503, 503, 503]
    with pytest.raises(Problem) as away:
        client.report("any")
    assert away.value.type == "about:blank"
    answers += [None, None, None]
    with pytest.raises(requests.ConnectionError):
        client.kinds()
    assert answers == []
    client.http.close()


def test_a_pause_may_be_asked_for_as_a_date(moody: Any) -> None:
    address, _, answers = moody
    client = Client(address, "key", "secret", tries=2)
    for asked in ("Thu, 01 Jan 1970 00:00:00 GMT", "-1", "soon"):
        answers += [(429, {"Retry-After": asked}, b""), 200]
        assert client.kinds() == []
    client.http.close()


def test_a_redirect_is_refused_with_the_other_address(moody: Any) -> None:
    address, asked, answers = moody
    client = Client(address, "key", "secret")
    answers += [(301, {"Location": "https://reports.example.com/api/v1/reports"}, b"")]
    with pytest.raises(Problem, match=r"301 Redirected: .* https://reports\.example\.com/"):
        client.create_report("partner-use", {})
    assert [request for request, _ in asked] == ["POST /api/v1/reports"]
    client.http.close()


def test_the_next_page_is_asked_of_the_same_site(moody: Any) -> None:
    address, asked, answers = moody
    client = Client(address, "key", "secret")
    link = '<http://inside.example:8000/api/v1/reports?cursor=c%2B1>; rel="next"'
    answers += [(200, {"Link": link}, b"[]"), 200]
    assert list(client.reports()) == []
    assert [request for request, _ in asked] == [
        "GET /api/v1/reports",
        "GET /api/v1/reports?cursor=c%2B1",
    ]
    client.http.close()


def test_a_stream_is_followed_over_connections_that_end_and_not_for_ever(moody: Any) -> None:
    address, asked, answers = moody
    client = Client(address, "key", "secret", tries=2)
    first = b'event: status\nid: 1\ndata: {"seq": 1}\n\nevent: status\nid: 2\nda'
    last = b': still here\n\nevent: end\nid: 01\ndata: {"status": "cancelled"}\n\n'
    answers += [(200, {}, first), (200, {}, b""), (200, {"Content-Length": "9999"}, last)]
    assert [event.name for event in client.events("any")] == ["status", "end"]
    assert [after for _, after in asked] == ["0", "1", "1"]
    answers += [(200, {}, b""), (200, {}, b": still here\n\n")]
    with pytest.raises(requests.ConnectionError, match="before the report did"):
        list(client.events("any"))
    assert answers == []
    client.http.close()
