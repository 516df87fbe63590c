"""An application whose one kind is the tally, with a real web server and a real mail server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.conftest import Api, add_people
from tests.mail_server import OwnPort
from tests.reports.tally import Tally
from webapp import jobs
from webapp.delivery import scheduler
from webapp.delivery.models import Definition
from webapp.extensions import db


@dataclass
class Receiver:
    """A web server that takes webhooks: what came, and what it answers (a status, or a list).

    meanwhile: what happens while a sender waits
    """

    port: int = 0
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            made.meanwhile()
            status = made.answers.pop(0) if made.answers else 204
            self.send_response(status)
            if status in {301, 302, 307, 308}:
                self.send_header("Location", made.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join(60)


@dataclass
class Mailbox:
    """A mail server: what it took, and what it says to the next addresses or messages."""

    url: str = ""
    refusals: list[str] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - the name aiosmtpd calls
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    controller = OwnPort(made, hostname="127.0.0.1", port=0)
    controller.start()
    port = controller.port
    made.url = f"smtp://127.0.0.1:{port}?tls=none"
    yield made
    controller.stop()


@pytest.fixture
def app(make_app: Callable[..., Flask], mailbox: Mailbox) -> Flask:
    app = make_app(
        report_kinds=[Tally()],
        SMTP_URL=mailbox.url,
        MAIL_FROM="reports@acme.example",
        PUBLIC_URL="https://reports.acme.example",
        FETCH_PRIVATE_ADDRESSES=True,
        SESSION_TIMEZONE="Europe/Berlin",
    )
    add_people(app)
    return app


@pytest.fixture
def api(api_for: Callable[[str], Api]) -> Api:
    return api_for("owner")


def saved(api: Api, **more: Any) -> dict[str, Any]:
    """Save a report by the API; return the answer."""
    body = {"name": "Apples", "kind": "tally", "params": {"topic": "apples"}} | more
    answer = api.post("/definitions", body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json
    return found


@dataclass
class Clock:
    """The janitor and the workers of this process, at a moment that the test says."""

    app: Flask

    def tick(self, now: datetime) -> None:
        """Let the janitor do its part once."""
        with self.app.app_context():
            scheduler.run_maintenance(now)

    def work(self) -> None:
        """Do every queued job; a report that fails is what the test wants."""
        with self.app.app_context():
            query = select(jobs.Job.id).where(jobs.Job.status == jobs.QUEUED)
            ids = list(db.session.scalars(query.order_by(jobs.Job.queued_at)))
            db.session.remove()
            for job_id in ids:
                with suppress(Exception):
                    jobs.run_queued(job_id)

    def turn(self, now: datetime, times: int = 2) -> None:
        """Let janitor and workers take turns, as they do in life."""
        for _ in range(times):
            self.tick(now)
            self.work()

    def rows(self, model: Any) -> list[Any]:
        """Return the rows of a table, oldest first."""
        with self.app.app_context():
            found = list(db.session.scalars(select(model).order_by(model.created_at)))
            db.session.expunge_all()
            return found

    def due(self, definition_id: str, at: datetime) -> None:
        """Let a definition be due at a moment, as if its schedule had said so before."""
        with self.app.app_context():
            db.session.execute(
                update(Definition).where(Definition.id == definition_id).values(next_run_at=at)
            )
            db.session.commit()


@pytest.fixture
def clock(app: Flask) -> Clock:
    return Clock(app)
