"""A client of Partner Use Report: asks for reports, follows them, fetches their results.

```python
client = Client("https://reports.example.com", api_key, secret)
report = client.create_report("partner-use", {"partner_id": "70000001", "connection": "…"})
report = client.wait(report)
print(client.result(report))
```

What is safe to send again is sent again where a connection breaks or the site is away for a moment;
a report is asked for under an Idempotency-Key, so that no second one is made.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple, TypedDict
from urllib.parse import urlsplit

import requests

__all__ = ["Client", "Estimate", "Event", "Kind", "Problem", "Report"]

# The site says something at least every 15 s: a stream that is silent for longer is broken.
CONNECT_S, READ_S, SILENT_S = 5.0, 60.0, 40.0
PASSING = frozenset({429, 502, 503, 504})
MOST_WAIT_S = 60.0


class Progress(TypedDict):
    """How many steps are done, of how many."""

    done: int
    total: int


class Links(TypedDict):
    """Where the rest of a report is, as paths."""

    self: str
    events: str
    result: str


class Report(TypedDict):
    """A report; `params` never holds a secret."""

    id: str
    kind: str
    status: Literal["queued", "running", "done", "incomplete", "failed", "cancelled"]
    params: dict[str, Any]
    progress: Progress
    company: str
    requested_by: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: str | None
    links: Links


class Estimate(TypedDict):
    """What a report would cost: calls to come, calls that stored months save, seconds."""

    calls: int
    saved: int
    seconds: float


class Kind(TypedDict):
    """A kind of report; `params` is the JSON Schema of its parameters."""

    kind: str
    title: str
    description: str
    params: dict[str, Any]


class Event(NamedTuple):
    """One event of a report: `status` with a line's data, or the last one, `end`."""

    name: str
    data: dict[str, Any]


class Problem(Exception):
    """An error that the site answered.

    type:   the address of the page about errors of its type, such as `/api/errors/not-found`
    errors: a sentence per field, where fields are to blame
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.type: str = document.get("type", "about:blank")
        self.title: str = document.get("title", "")
        self.detail: str = document.get("detail", "")
        self.errors: dict[str, str] = document.get("errors", {})
        self.request_id: str = document.get("request_id", "")
        super().__init__(f"{status} {self.title}: {self.detail}")


class Client:
    """A caller with an API key. One is enough for a program; give each thread its own.

    tries: how often a request is sent that may be sent again
    """

    def __init__(self, site: str, api_key: str, secret: str, *, tries: int = 5) -> None:
        self._site = site.rstrip("/")
        self._tries = tries
        self.http = requests.Session()
        self.http.auth = (api_key, secret)

    # Reports

    def create_report(
        self, kind: str, params: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Report:
        """Ask for a report and return it; the same key and body give the same report again."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        body = {"kind": kind, "params": dict(params)}
        report: Report = self._send(
            "POST", "/api/v1/reports", json=body, headers=headers, again=True
        ).json()
        return report

    def report(self, report: Report | str) -> Report:
        """Return a report as it is now."""
        found: Report = self._send("GET", _path(report)).json()
        return found

    def reports(self, *, kind: str | None = None, status: str | None = None) -> Iterator[Report]:
        """Yield the company's reports, newest first, page by page."""
        answer = self._send("GET", "/api/v1/reports", params={"kind": kind, "status": status})
        while True:
            yield from answer.json()
            following = answer.links.get("next", {}).get("url")
            if following is None:
                return
            # Only the path: a site behind a proxy may call itself by a name that leads elsewhere.
            parts = urlsplit(following)
            answer = self._send("GET", f"{parts.path}?{parts.query}")

    def events(self, report: Report | str) -> Iterator[Event]:
        """Yield every event of a report once and in order, whatever the connection does.

        Raises requests' error where `tries` connections after each other brought no event.
        """
        broken: requests.RequestException
        # How many connections after each other brought nothing; one that brought an event is none.
        last, failed = "0", 0
        while True:
            try:
                with self._send(
                    "GET",
                    f"{_path(report)}/events",
                    headers={"Last-Event-ID": last},
                    stream=True,
                    timeout=(CONNECT_S, SILENT_S),
                ) as stream:
                    for event_id, event in _read_events(stream):
                        last, failed = event_id, -1
                        yield event
                        if event.name == "end":
                            return
                broken = requests.ConnectionError("The stream ended before the report did.")
            except requests.RequestException as error:
                broken = error
            failed += 1
            if failed >= self._tries:
                raise broken
            time.sleep(min(2.0**failed / 2, MOST_WAIT_S))

    def wait(self, report: Report | str, *, timeout_s: float | None = None) -> Report:
        """Return a report once it has ended; raises TimeoutError where that takes longer."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = 0.5
        while True:
            found = self.report(report)
            if found["status"] not in {"queued", "running"}:
                return found
            if deadline is not None and time.monotonic() + pause_s > deadline:
                raise TimeoutError(f"The report {found['id']} is still {found['status']}.")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 10.0)

    def result(self, report: Report | str, **query: str) -> Any:
        """Return the result as it is in JSON."""
        return self._send("GET", f"{_path(report)}/result", params=query).json()

    def result_file(self, report: Report | str, file_format: str, **query: str) -> bytes:
        """Return the result as a file: `csv`, `xlsx`, `pdf` or `json`."""
        params = {"format": file_format, **query}
        return self._send("GET", f"{_path(report)}/result", params=params).content

    def retry(self, report: Report | str, params: Mapping[str, Any] | None = None) -> Report:
        """Try again only what failed; secrets were erased, so send them again."""
        body = {"params": dict(params or {})}
        found: Report = self._send("POST", f"{_path(report)}/retry", json=body).json()
        return found

    def delete(self, report: Report | str) -> None:
        """Cancel a report that has not ended, delete one that has."""
        self._send("DELETE", _path(report))

    def estimate(self, kind: str, params: Mapping[str, Any]) -> Estimate:
        """Return about how many calls a report needs, and how long."""
        body = {"kind": kind, "params": dict(params)}
        found: Estimate = self._send(
            "POST", "/api/v1/reports/estimate", json=body, again=True
        ).json()
        return found

    def kinds(self) -> list[Kind]:
        """Return the kinds of report."""
        found: list[Kind] = self._send("GET", "/api/v1/kinds").json()
        return found

    # The wire

    def _send(
        self, method: str, path: str, *, again: bool = False, **more: Any
    ) -> requests.Response:
        """Return the answer; raises Problem, and requests' own errors where none came."""
        more.setdefault("timeout", (CONNECT_S, READ_S))
        tries = self._tries if again or method == "GET" else 1
        for number in range(1, tries + 1):
            wait_s = 2.0**number / 4
            try:
                # Redirected, a POST would become a GET, which is answered with something else.
                answer = self.http.request(method, self._site + path, allow_redirects=False, **more)
            except (requests.ConnectionError, requests.Timeout):
                if number == tries:
                    raise
            else:
                if answer.status_code < 300:
                    return answer
                if answer.status_code not in PASSING or number == tries:
                    raise Problem(answer.status_code, _document(answer))
                wait_s = _retry_after(answer, wait_s)
                answer.close()
            time.sleep(min(wait_s, MOST_WAIT_S))
        raise AssertionError("there is at least one try")


def _path(report: Report | str) -> str:
    return f"/api/v1/reports/{report if isinstance(report, str) else report['id']}"


def _retry_after(answer: requests.Response, otherwise: float) -> float:
    """Return how many seconds the site, or a proxy in front, asks to wait."""
    asked = answer.headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    try:
        return max((parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return otherwise


def _document(answer: requests.Response) -> dict[str, Any]:
    if answer.is_redirect:
        detail = f"The site is at another address: {answer.headers['Location']}"
        return {"title": "Redirected", "detail": detail}
    try:
        found = answer.json()
    except requests.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"title": answer.reason}


def _read_events(stream: requests.Response) -> Iterator[tuple[str, Event]]:
    """Yield the events of a stream with their ids; comments are passed over."""
    event: dict[str, str] = {}
    for raw in stream.iter_lines(chunk_size=1):
        field, _, value = raw.decode("utf-8").partition(": ")
        if field in {"event", "id", "data"}:
            event[field] = value
        elif not field and event:
            yield event["id"], Event(event["event"], json.loads(event["data"]))
            event = {}
