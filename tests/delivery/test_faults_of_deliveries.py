"""Whatever fails and dies on the way: each period is made once, and told once or told as failed.

Random faults strike a mail, a webhook and a folder: a worker killed before or after something left,
refusals, a server that fails, the database away while a delivery is written down, a janitor killed
between two steps, two janitors at once. Then all is well again, and what happened is counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from tests.conftest import Api
from tests.delivery.conftest import Clock, Mailbox, Receiver, saved
from webapp import jobs
from webapp.delivery import scheduler, sending
from webapp.delivery.models import Definition, DefinitionRun, Delivery
from webapp.extensions import db
from webapp.jobs import Job, janitor
from webapp.lib.moments import utcnow

FIRST = datetime(2031, 4, 2, 5, 0, tzinfo=UTC)  # 07:00 in Berlin
DAYS = 2
FAULTS = (
    "nothing",
    "killed before sending",
    "killed after sending",
    "database away after sending",
    "mail refused",
    "receiver fails",
    "janitor killed",
    "two janitors",
)


class Killed(BaseException):
    """A process that ended at once: nothing after it is done, nothing is written down."""


class Faulty:
    """The janitor and the workers, with a fault that strikes where it can."""

    def __init__(self, app: Flask, clock: Clock, mailbox: Mailbox, receiver: Receiver) -> None:
        self.app, self.clock, self.mailbox, self.receiver = app, clock, mailbox, receiver
        self.fault = "nothing"
        self._senders = dict(sending.SENDERS)
        self._start = scheduler.start_report

    def begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the faults where things leave, and where a report is asked for."""
        for by, send in self._senders.items():
            monkeypatch.setitem(sending.SENDERS, by, self._sender(send))
        monkeypatch.setattr(scheduler, "start_report", self._start_report)

    def _sender(self, send: Callable[[Delivery], str]) -> Callable[[Delivery], str]:
        def send_or_fail(delivery: Delivery) -> str:
            if self.fault == "killed before sending":
                self.fault = "nothing"
                raise Killed
            answer = send(delivery)
            fault, self.fault = self.fault, "nothing"
            if fault == "killed after sending":
                raise Killed
            if fault == "database away after sending":
                raise OperationalError("UPDATE", {}, Exception("server closed the connection"))
            return answer

        return send_or_fail

    def _start_report(self, *args: Any, **more: Any) -> Any:
        started = self._start(*args, **more)
        if self.fault == "janitor killed":
            self.fault = "nothing"
            raise Killed
        return started

    def step(self, fault: str, now: datetime) -> None:
        """Let janitor and workers do their part, struck by a fault."""
        self.fault = fault
        if fault == "mail refused":
            self.mailbox.refusals.append("451 try again later")
        if fault == "receiver fails":
            self.receiver.answers.append(500)
        if fault == "two janitors":
            threads = [threading.Thread(target=self._tick, args=(now,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        else:
            self._tick(now)
        with self.app.app_context():
            query = select(Job.id).where(Job.status == jobs.QUEUED)
            ids = list(db.session.scalars(query.order_by(Job.queued_at, Job.id)))
            db.session.remove()
        for job_id in ids:
            with self.app.app_context():
                try:
                    jobs.run_queued(job_id)
                except (Killed, RuntimeError, OperationalError):
                    db.session.remove()

    def _tick(self, now: datetime) -> None:
        try:
            self.clock.tick(now)
        except Killed:
            with self.app.app_context():
                db.session.remove()

    def find_the_lost(self, now: datetime) -> None:
        """Let the leases of dead workers run out, and what waits for its next try be due."""
        with self.app.app_context():
            db.session.execute(
                update(Job)
                .where(Job.status == jobs.RUNNING)
                .values(lease_until=now - timedelta(days=9999))
            )
            db.session.execute(
                update(Delivery).where(Delivery.next_try_at.is_not(None)).values(next_try_at=now)
            )
            db.session.commit()
            janitor.sweep()
            db.session.remove()


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(faults=st.lists(st.sampled_from(FAULTS), min_size=4, max_size=10))
def test_each_period_is_made_once_and_told_once_or_told_as_failed(
    faults: list[str],
    api: Api,
    app: Flask,
    clock: Clock,
    mailbox: Mailbox,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "out"
    made = saved(
        api,
        schedule={"every": "day", "at": "07:00"},
        deliver=[
            {"by": "email", "to": ["a@acme.example"], "attach": []},
            {"by": "webhook", "url": receiver.url},
            {"by": "folder", "url": f"file://{folder}", "attach": ["csv"]},
        ],
    )
    mailbox.mails.clear()
    receiver.got.clear()
    clock.due(made["id"], FIRST)
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = Faulty(app, clock, mailbox, receiver)
        world.begin(monkeypatch)
        for number, fault in enumerate(faults):
            now = FIRST + timedelta(days=number * DAYS // len(faults), minutes=number)
            world.step(fault, now)
            world.find_the_lost(now)
        receiver.answers.clear()
        mailbox.refusals.clear()
        for _ in range(6):
            world.find_the_lost(now)
            world.step("nothing", now)
    _check(app, made["id"], mailbox, receiver, folder)


def _check(
    app: Flask, definition_id: str, mailbox: Mailbox, receiver: Receiver, folder: Path
) -> None:
    with app.app_context():
        runs = list(
            db.session.scalars(
                select(DefinitionRun).where(DefinitionRun.definition_id == definition_id)
            )
        )
        assert sorted(run.period or "" for run in runs) == ["2031-04-02", "2031-04-03"]
        assert {run.status for run in runs} == {"over"}
        reports = [run.report_id for run in runs]
        assert len(set(reports)) == len(runs)
        mine = {f"definition-run:{run.id}" for run in runs}
        keys = db.session.scalars(select(Job.idempotency_key).where(Job.idempotency_key.in_(mine)))
        assert Counter(keys) == dict.fromkeys(mine, 1)
        deliveries = list(
            db.session.scalars(select(Delivery).where(Delivery.definition_id == definition_id))
        )
        assert len(deliveries) == 3 * len(runs)
        ids = (str(mail["Message-ID"]).strip("<>").partition("@")[0] for mail in mailbox.mails)
        mails = Counter(ids)
        hooks = {headers["webhook-id"] for headers, _ in receiver.got}
        for delivery in deliveries:
            by = delivery.target["by"]
            assert delivery.next_try_at is None
            if by == "email":
                # Sent once, or nobody knows and it says so: never twice, never lost in silence.
                assert delivery.status in {"sent", "unknown"}
                assert mails[delivery.id] <= 1
                assert mails[delivery.id] == 1 or delivery.status == "unknown"
            elif delivery.status != "sent":
                # Three workers were lost over it, and it says so.
                assert "was lost 3 times" in delivery.tries[-1]["answer"]
            elif by == "webhook":
                assert delivery.id in hooks
            else:
                assert list((folder / str(delivery.run.period)).glob("*.csv"))
        # What came twice carries the same id, and nothing came that is no delivery of ours.
        assert hooks <= {one.id for one in deliveries if one.target["by"] == "webhook"}
        db.session.execute(
            update(Definition)
            .where(Definition.id == definition_id)
            .values(paused=True, next_run_at=None)
        )
        db.session.commit()


def test_a_janitor_that_comes_late_hands_no_delivery_over_that_is_being_sent(
    app: Flask, api: Api, clock: Clock, receiver: Receiver
) -> None:
    made = saved(api, deliver=[{"by": "webhook", "url": receiver.url}])
    assert api.post(f"/definitions/{made['id']}/run").status_code == 202
    clock.work()
    clock.tick(utcnow())
    [delivery] = clock.rows(Delivery)
    with app.app_context():
        # A worker is at it; the other janitor has listed it before that.
        db.session.execute(update(Job).where(Job.key == delivery.id).values(status=jobs.RUNNING))
        db.session.commit()
        scheduler._hand_over_delivery(delivery.id, utcnow())
    assert [job.status for job in clock.rows(Job) if job.key == delivery.id] == [jobs.RUNNING]
