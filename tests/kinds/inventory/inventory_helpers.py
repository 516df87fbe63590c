"""What the tests of the inventory share: a site on loopback, a client of its flow, a worker.

The client is written from the published addresses alone: it knows nothing of the application.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import requests
from flask import Flask
from sqlalchemy import select
from werkzeug.serving import make_server

from tests.conftest import find_scope
from webapp import jobs
from webapp.engine.models import QUEUED, Report
from webapp.errors import ReportError
from webapp.extensions import db
from webapp.kinds.inventory.demo import make_demo

REPORTS = "/api/reports/v1/reports"
PERIODS = "/api/reporting-periods/v1/reporting-periods"
UNITS = "/api/organizational-units/v1/organizational-units"
DATA = "/api/v1/inventory"
REPORT_FIELDS = {
    "id",
    "name",
    "jsonVersion",
    "createdOn",
    "reportStatus",
    "reportFileStatus",
    "doneReportFiles",
    "countReportFiles",
}


@dataclass
class Flow:
    """A program that exports inventories: signs in, switches, starts, waits, downloads."""

    server: str
    token: str = ""
    refresh_token: str = ""
    user: dict[str, Any] = field(default_factory=dict)
    own_company: dict[str, Any] = field(default_factory=dict)
    company: dict[str, Any] = field(default_factory=dict)

    def by_key(self, api_key: str, secret: str) -> Flow:
        body = {"apiKey": api_key, "secret": secret}
        answer = self._sent("POST", "/api/keys/v1/api/auth", json=body).json()
        self.refresh_token = answer["refreshToken"]
        return self._use(answer["accessToken"], answer["tokenType"])

    def by_password(self, username: str, password: str) -> Flow:
        form = {"username": username, "password": password}
        answer = self._sent("POST", "/api/auth/token", data=form).json()
        self.refresh_token = answer["refresh_token"]
        return self._use(answer["access_token"], answer["token_type"])

    def refresh(self) -> Flow:
        headers = {"Authorization": f"Bearer {self.refresh_token}"}
        answer = requests.get(f"{self.server}/api/auth/token/refresh", headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return self._use(answer.json()["access_token"], answer.json()["token_type"])

    def switch(self, company_id: str) -> Flow:
        body = {"companyId": company_id}
        answer = self._sent("POST", "/api/auth/token/switch", json=body).json()
        return self._use(answer["access_token"], answer["token_type"])

    def _use(self, token: str, token_type: str) -> Flow:
        """Take a token over and read user, own company and the token's company with it."""
        assert token_type.lower() == "bearer"
        self.token = token
        claims = self.claims()
        self.user = self.get(f"/api/accounts/v1/users/{claims['userId']}")
        companies = "/api/accounts/v1/companies"
        self.own_company = self.get(f"{companies}/{self.user['companyId']}")
        self.company = self.get(f"{companies}/{claims['com']}")
        return self

    def claims(self) -> dict[str, Any]:
        payload = self.token.split(".")[1]
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
        return found

    def _sent(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = requests.request(
            method, self.server + path, headers=headers, timeout=60, allow_redirects=False, **more
        )
        assert answer.status_code == 200, (method, path, answer.status_code, answer.text)
        return answer

    def get(self, path: str, **query: str) -> Any:
        return self._sent("GET", path, params=query).json()

    def post(self, path: str, body: Any) -> Any:
        return self._sent("POST", path, json=body).json()

    def delete(self, path: str) -> Any:
        return self._sent("DELETE", path, json={}).json()

    def root(self) -> dict[str, Any]:
        (root,) = [unit for unit in self.get(UNITS) if unit["parentId"] is None]
        return root

    def start(self, **more: Any) -> dict[str, Any]:
        """Start a report of the newest period and the root."""
        period = max(self.get(PERIODS), key=lambda one: one["startDate"])
        body = {
            "name": f"Inventory [{period['shortName']}]",
            "reportingPeriodId": period["id"],
            "organizationUnitId": self.root()["id"],
        }
        started: dict[str, Any] = self.post(REPORTS, body | more)
        return started

    def wait(self, report_id: str) -> list[dict[str, Any]]:
        """Ask again until the files are there or never will be; return every answer."""
        answers: list[dict[str, Any]] = []
        deadline = time.monotonic() + 60
        while not answers or answers[-1]["reportFileStatus"] == "PROCESSING":
            assert time.monotonic() < deadline, answers[-1]
            answers.append(self.get(f"{REPORTS}/{report_id}"))
            time.sleep(0.02)
        return answers

    def url(self, report_id: str, report_type: str, file_type: str) -> str:
        path = f"{REPORTS}/{report_id}/presigned-url"
        found: str = self.get(path, fileType=file_type, reportType=report_type)["url"]
        return found

    def download(self, report_id: str, report_type: str, file_type: str) -> bytes:
        """Fetch a file as a stranger with its address."""
        answer = requests.get(self.url(report_id, report_type, file_type), timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.content


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve the application on loopback, with one worker beside it; give its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    over = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True),
        threading.Thread(target=_work, args=(app, over), daemon=True),
    ]
    for thread in threads:
        thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    over.set()
    server.shutdown()
    for thread in threads:
        thread.join(60)
    server.server_close()


def _work(app: Flask, over: threading.Event) -> None:
    while not over.wait(0.02):
        with app.app_context():
            run_waiting(app)


def run_waiting(app: Flask) -> None:
    """Run every report that is queued, as a worker would."""
    with app.app_context():
        for report_id in list(db.session.scalars(select(Report.id).where(Report.status == QUEUED))):
            db.session.rollback()
            with suppress(ReportError):
                jobs.run_queued(report_id)
        db.session.rollback()


def make_demo_for(app: Flask, who: str) -> str:
    """Give somebody's home company the demo data; return the company's id."""
    company_id = find_scope(app, who).company_id
    with app.app_context():
        make_demo(company_id)
    return company_id


@dataclass
class Caller:
    """Somebody's program, signed in by Basic, over the application's test client."""

    send: Callable[..., Any]

    def get(self, path: str, **query: Any) -> Any:
        return self.send("GET", path, query_string=query)

    def post(self, path: str, body: Any) -> Any:
        return self.send("POST", path, json=body)

    def delete(self, path: str) -> Any:
        return self.send("DELETE", path)

    def places(self) -> tuple[str, str]:
        """Return the ids of the newest period and of the root."""
        period = max(self.get(PERIODS).json, key=lambda one: one["startDate"])
        (root,) = [unit for unit in self.get(UNITS).json if unit["parentId"] is None]
        return period["id"], root["id"]

    def start(self, **more: Any) -> Any:
        period, unit = self.places()
        body = {"name": "Ours", "reportingPeriodId": period, "organizationUnitId": unit} | more
        return self.post(REPORTS, body)

    def url(self, report_id: str, report_type: str = "DATA_DUMP", file_type: str = "XLSX") -> Any:
        path = f"{REPORTS}/{report_id}/presigned-url"
        return self.get(path, fileType=file_type, reportType=report_type)


def entry(**more: Any) -> dict[str, Any]:
    """Return an entry of the demo's period 2025 as programs send it."""
    return {
        "id": "e-1",
        "period_id": "2025",
        "unit_id": "Lyon office",
        "scope": 1,
        "category": "Heat",
        "quantity": "10.5",
        "unit_of_measure": "kWh",
        "emission_factor": "0.2",
    } | more
