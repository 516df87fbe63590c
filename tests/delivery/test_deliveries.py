"""Periods are made once and told once: due, missed, failed, held; by mail, webhook and folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, update
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from tests.conftest import Api
from tests.delivery.conftest import Clock, Mailbox, Receiver, saved
from webapp.accounts.models import Membership
from webapp.delivery import scheduler, sending
from webapp.delivery.models import Definition, DefinitionRun, Delivery
from webapp.engine.models import Report
from webapp.extensions import db
from webapp.lib.moments import utcnow

MONTHLY = {"every": "month", "grace_days": 1, "at": "07:00"}
DUE = datetime(2031, 4, 2, 5, 0, tzinfo=UTC)  # 07:00 in Berlin


def by_mail(*to: str, attach: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"by": "email", "to": list(to), "attach": list(attach)}


def test_a_period_is_made_and_told_once(api: Api, clock: Clock, mailbox: Mailbox) -> None:
    made = saved(
        api, schedule=MONTHLY, deliver=[by_mail("a@acme.example", attach=("csv", "xlsx", "pdf"))]
    )
    clock.due(made["id"], DUE)
    clock.turn(DUE, times=4)
    (run,) = api.get(f"/definitions/{made['id']}/runs").json
    assert (run["period"], run["status"], run["report_status"]) == ("2031-03", "over", "done")
    (mail,) = mailbox.mails
    assert mail["To"] == "a@acme.example"
    assert mail["Subject"] == "Apples · 2031-03"
    text = mail.get_body(("plain",)).get_content()
    assert "Things: 12 (all of them)" in text
    assert f"https://reports.acme.example/reports/{run['report']}" in text
    names = [part.get_filename() for part in mail.iter_attachments()]
    assert names == [f"tally-apples-short.{fmt}" for fmt in ("csv", "xlsx", "pdf")]
    (delivery,) = api.get("/deliveries").json
    assert (delivery["status"], len(delivery["tries"])) == ("sent", 1)
    assert api.get(f"/definitions/{made['id']}").json["next_run_at"] == "2031-05-02T05:00:00.000Z"


def test_several_janitors_at_once_make_one_run(api: Api, clock: Clock, app: Flask) -> None:
    made = saved(api, schedule=MONTHLY)
    clock.due(made["id"], DUE)
    begin = threading.Barrier(4)

    def sweep() -> None:
        begin.wait()
        for _ in range(3):
            clock.tick(DUE)

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(clock.rows(DefinitionRun)) == 1
    assert len(clock.rows(Report)) == 1


def test_times_that_were_slept_through_are_made_up_for_once(
    api: Api, clock: Clock, mailbox: Mailbox
) -> None:
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example")])
    clock.due(made["id"], DUE)
    clock.turn(DUE + timedelta(days=70))
    (run,) = clock.rows(DefinitionRun)
    assert (run.period, run.missed) == ("2031-05", 2)
    (mail,) = mailbox.mails
    assert "2 earlier times were missed" in mail.get_body(("plain",)).get_content()


def test_a_changed_schedule_makes_no_period_twice(api: Api, clock: Clock) -> None:
    made = saved(api, schedule=MONTHLY)
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    later = {"schedule": {"every": "month", "grace_days": 3, "at": "09:00"}}
    api.client.patch(f"/api/v1/definitions/{made['id']}", json=later, auth=api.auth)
    clock.due(made["id"], DUE + timedelta(days=2, hours=2))
    clock.turn(DUE + timedelta(days=2, hours=3))
    assert [run.period for run in clock.rows(DefinitionRun)] == ["2031-03"]


def test_a_janitor_killed_between_two_steps_loses_nothing(
    api: Api, clock: Clock, app: Flask, mailbox: Mailbox
) -> None:
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example")])
    clock.due(made["id"], DUE)
    with app.app_context():
        scheduler._begin_run(made["id"], DUE)
        (run,) = clock.rows(DefinitionRun)
        # It asked for the report, and died before it could write down which one.
        scheduler._ask_for_report(run.id)
        db.session.execute(update(DefinitionRun).values(status="due", report_id=None))
        db.session.commit()
    clock.turn(DUE)
    assert len(clock.rows(Report)) == 1
    assert len(mailbox.mails) == 1


def test_who_left_the_company_makes_nothing_more(
    api: Api, api_for: Callable[[str], Api], clock: Clock, app: Flask, receiver: Receiver
) -> None:
    made = saved(
        api_for("colleague"), schedule=MONTHLY, deliver=[{"by": "webhook", "url": receiver.url}]
    )
    with app.app_context():
        db.session.execute(delete(Membership).where(Membership.user_id == made["owner"]))
        db.session.commit()
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    (run,) = clock.rows(DefinitionRun)
    assert run.status == "failed"
    assert "no longer a member of the company" in run.error
    assert clock.rows(Report) == []
    assert json.loads(receiver.got[0][1])["type"] == "report.failed"


def test_a_failed_report_is_tried_again_and_then_told_to_its_owner(
    api: Api, clock: Clock, mailbox: Mailbox, receiver: Receiver
) -> None:
    deliver = [by_mail("a@acme.example"), {"by": "webhook", "url": receiver.url}]
    made = saved(api, schedule=MONTHLY, deliver=deliver, params={"topic": "apples", "fails": True})
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    assert (mailbox.mails, receiver.got) == ([], [])
    for hours in range(1, 4):
        clock.turn(utcnow() + timedelta(hours=hours))
    (run,) = clock.rows(DefinitionRun)
    assert (run.status, run.retries) == ("failed", 2)
    (mail,) = mailbox.mails
    assert mail["To"] == "owner@example.com"
    assert mail["Subject"] == "Apples · 2031-03 · failed"
    assert "The partner went away" in mail.get_body(("plain",)).get_content()
    (hook,) = receiver.got
    assert json.loads(hook[1])["type"] == "report.failed"
    assert json.loads(hook[1])["data"]["figures"] == []


def test_an_incomplete_report_is_told_as_such(api: Api, clock: Clock, mailbox: Mailbox) -> None:
    saved_holes = {"topic": "apples", "holes": True}
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example")], params=saved_holes)
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    (mail,) = mailbox.mails
    assert mail["Subject"] == "Apples · 2031-03 · incomplete"
    assert "could not be counted" in mail.get_body(("plain",)).get_content()


def test_an_incomplete_report_is_held_where_that_is_wanted(
    api: Api, clock: Clock, app: Flask, mailbox: Mailbox
) -> None:
    made = saved(
        api,
        schedule=MONTHLY,
        deliver=[by_mail("a@acme.example")],
        hold_incomplete=True,
        params={"topic": "apples", "holes": True},
    )
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    assert mailbox.mails == []
    assert clock.rows(DefinitionRun)[0].status == "held"
    with app.app_context():
        report = clock.rows(Report)[0]
        db.session.execute(
            update(Report).where(Report.id == report.id).values(params={"topic": "apples"})
        )
        db.session.commit()
    api.post(f"/reports/{report.id}/retry")
    clock.turn(DUE)
    (mail,) = mailbox.mails
    assert mail["Subject"] == "Apples · 2031-03"


def test_many_that_are_held_hide_none_that_is_done(
    api: Api, clock: Clock, app: Flask, mailbox: Mailbox
) -> None:
    holes = {"topic": "apples", "holes": True}
    held = saved(api, hold_incomplete=True, params=holes)
    report = api.post(f"/definitions/{held['id']}/run").json["id"]
    clock.work()
    with app.app_context():
        for number in range(150):
            db.session.add(
                DefinitionRun(
                    definition_id=held["id"],
                    period=f"{number}",
                    due_at=DUE,
                    status="held",
                    report_id=report,
                )
            )
        db.session.commit()
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example")])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    assert len(mailbox.mails) == 1


def test_a_webhook_is_signed_and_says_ids_and_figures(
    api: Api, clock: Clock, receiver: Receiver
) -> None:
    made = saved(api, schedule=MONTHLY, deliver=[{"by": "webhook", "url": receiver.url}])
    secret = made["webhook_secret"]
    assert api.get(f"/definitions/{made['id']}").json["webhook_secret"] is None
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    ((headers, body),) = receiver.got
    # The library checks the moment, too.
    told = Webhook(secret).verify(body.decode(), headers)
    assert told["type"] == "report.finished"
    assert told["data"]["figures"][0] == {"label": "Things", "value": 12, "note": "all of them"}
    assert told["data"]["links"]["page"].startswith("https://reports.acme.example/reports/")
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.decode() + " ", headers)


def test_a_rotated_secret_leaves_the_old_one_a_day(
    api: Api, clock: Clock, receiver: Receiver
) -> None:
    made = saved(api, schedule=MONTHLY, deliver=[{"by": "webhook", "url": receiver.url}])
    new = api.post(f"/definitions/{made['id']}/secret").json["webhook_secret"]
    assert new != made["webhook_secret"]
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    ((headers, body),) = receiver.got
    for secret in (new, made["webhook_secret"]):
        Webhook(secret).verify(body.decode(), headers)


@pytest.mark.parametrize("status", [500, 503, 429, 404, 302])
def test_a_receiver_that_fails_is_tried_again_with_the_same_id(
    api: Api, clock: Clock, receiver: Receiver, status: int
) -> None:
    receiver.answers = [status, status]
    made = saved(api, schedule=MONTHLY, deliver=[{"by": "webhook", "url": receiver.url}])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    (delivery,) = clock.rows(Delivery)
    assert (delivery.status, len(receiver.got)) == ("waiting", 1)
    for _ in range(2):
        (delivery,) = clock.rows(Delivery)
        clock.turn(delivery.next_try_at, times=2)
    (delivery,) = clock.rows(Delivery)
    assert delivery.status == "sent"
    assert [one["ok"] for one in delivery.tries] == [False, False, True]
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {delivery.id}


def test_a_receiver_that_fails_for_a_day_is_given_up_and_can_be_asked_for_again(
    api: Api, clock: Clock, receiver: Receiver
) -> None:
    receiver.answers = [500] * 8
    made = saved(api, schedule=MONTHLY, deliver=[{"by": "webhook", "url": receiver.url}])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    started = utcnow()
    while clock.rows(Delivery)[0].next_try_at:
        last = clock.rows(Delivery)[0].next_try_at
        clock.turn(last, times=2)
    (told,) = api.get(f"/deliveries?definition={made['id']}").json
    assert (told["status"], len(told["tries"])) == ("failed", 8)
    assert last - started < timedelta(days=1, hours=6)
    assert api.post(f"/deliveries/{told['id']}/resend").status_code == 202
    assert api.post(f"/deliveries/{told['id']}/resend").status_code == 409
    clock.turn(utcnow(), times=2)
    (told,) = api.get("/deliveries").json
    assert (told["status"], len(told["tries"])) == ("sent", 9)


def test_a_receiver_that_is_gone_is_switched_off(
    api: Api, clock: Clock, receiver: Receiver
) -> None:
    receiver.answers = [410]
    made = saved(api, schedule=MONTHLY, deliver=[{"by": "webhook", "url": receiver.url}])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    assert api.get("/deliveries").json[0]["status"] == "failed"
    assert api.get(f"/definitions/{made['id']}").json["deliver"][0]["off"] is True
    clock.due(made["id"], DUE + timedelta(days=30))
    clock.turn(DUE + timedelta(days=31))
    assert len(clock.rows(DefinitionRun)) == 2
    assert len(receiver.got) == 1


def test_what_was_changed_while_a_receiver_was_asked_stays_changed(
    api: Api, clock: Clock, receiver: Receiver
) -> None:
    hook = {"by": "webhook", "url": receiver.url}
    made = saved(api, schedule=MONTHLY, deliver=[hook])
    readers = [hook, {"by": "email", "to": ["reader@example.com"], "attach": []}]
    receiver.answers = [410]
    receiver.meanwhile = lambda: api.client.patch(
        f"/api/v1/definitions/{made['id']}", json={"deliver": readers}, auth=api.auth
    )
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    told = api.get(f"/definitions/{made['id']}").json["deliver"]
    assert [(one["by"], one.get("off")) for one in told] == [("webhook", True), ("email", None)]


def test_no_webhook_goes_to_a_private_address_unless_a_setting_allows_it(
    make_app: Callable[..., Flask], api: Api, app: Flask, clock: Clock, receiver: Receiver
) -> None:
    body = {"name": "x", "kind": "tally", "params": {"topic": "a"}, "schedule": MONTHLY}
    body["deliver"] = [{"by": "webhook", "url": receiver.url}]
    made = saved(api, **body)
    app.config["FETCH_PRIVATE_ADDRESSES"] = False
    refused = api.post("/definitions", body)
    assert list(refused.json["errors"]) == ["deliver.0.webhook.url"]
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    assert receiver.got == []
    assert api.get("/deliveries").json[0]["status"] == "failed"


@pytest.mark.parametrize(
    ("answer", "status"), [("451 try later", "waiting"), ("554 no thanks", "failed")]
)
def test_a_mail_server_that_refuses(
    api: Api, clock: Clock, mailbox: Mailbox, answer: str, status: str
) -> None:
    mailbox.refusals = [answer]
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example", "b@acme.example")])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    told = {one["to"]: one for one in api.get("/deliveries").json}
    assert sorted(one["status"] for one in told.values()) == sorted([status, "sent"])
    (refused,) = (one for one in told.values() if one["status"] == status)
    assert answer[:3] in refused["tries"][0]["answer"]
    for delivery in clock.rows(Delivery):
        if delivery.next_try_at:
            clock.turn(delivery.next_try_at, times=2)
    assert len(mailbox.mails) == (2 if status == "waiting" else 1)


def test_a_worker_lost_while_a_mail_was_sent_sends_no_second_one(
    api: Api, clock: Clock, app: Flask, mailbox: Mailbox
) -> None:
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example")])
    clock.due(made["id"], DUE)
    clock.turn(DUE, times=2)
    with app.app_context():
        # The mail went out, and the worker died before it could write that down.
        db.session.execute(update(Delivery).values(status="sending", next_try_at=DUE))
        db.session.commit()
    sent = len(mailbox.mails)
    clock.turn(DUE)
    assert len(mailbox.mails) == sent
    (told,) = api.get("/deliveries").json
    assert told["status"] == "unknown"
    assert "Resend" in told["tries"][-1]["answer"]


def test_a_fault_of_the_program_gives_the_delivery_up_and_says_so(
    api: Api, clock: Clock, app: Flask, mailbox: Mailbox
) -> None:
    app.config["MAIL_FROM"] = "two\nlines"
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example")])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    (told,) = api.get("/deliveries").json
    assert (told["status"], told["next_try_at"]) == ("failed", None)
    assert "A fault of this program" in told["tries"][-1]["answer"]
    assert mailbox.mails == []


def test_files_go_into_a_folder_by_period(api: Api, clock: Clock, tmp_path: Path) -> None:
    folder = {"by": "folder", "url": f"file://{tmp_path}/out", "attach": ["csv", "json"]}
    made = saved(api, schedule=MONTHLY, deliver=[folder])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("out/*/*"))
    assert names == ["out/2031-03/tally-apples-short.csv", "out/2031-03/tally-apples-short.json"]
    assert (tmp_path / names[0]).read_text().startswith("number,name,")


def test_a_file_too_large_for_a_mail_is_a_link(
    api: Api, clock: Clock, app: Flask, mailbox: Mailbox
) -> None:
    app.config["MAIL_ATTACH_MB"] = 0
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example", attach=("csv",))])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    (mail,) = mailbox.mails
    assert list(mail.iter_attachments()) == []
    assert "too large for a mail" in mail.get_body(("plain",)).get_content()


def test_a_reader_takes_themselves_out(
    api: Api, clock: Clock, app: Flask, mailbox: Mailbox
) -> None:
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example", "b@acme.example")])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    mail = next(one for one in mailbox.mails if one["To"] == "a@acme.example")
    path = mail["List-Unsubscribe"].strip("<>").removeprefix("https://reports.acme.example")
    browser = app.test_client()
    assert "a@acme.example" in browser.get(path).text
    assert browser.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert api.get(f"/definitions/{made['id']}").json["deliver"][0]["to"] == ["b@acme.example"]
    assert browser.get(path + "x").status_code == 404


def test_the_chart_stands_in_the_mail_as_a_picture(
    api: Api, clock: Clock, mailbox: Mailbox
) -> None:
    params = {"topic": "apples", "mode": "long", "start": "-11", "end": "last_closed"}
    made = saved(api, schedule=MONTHLY, deliver=[by_mail("a@acme.example")], params=params)
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    (mail,) = mailbox.mails
    pictures = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert pictures[0].get_content().startswith(b"\x89PNG")
    assert 'src="cid:chart"' in mail.get_body(("html",)).get_content()


def test_a_definition_tells_no_secret(api: Api, clock: Clock, receiver: Receiver) -> None:
    made = saved(api, schedule=MONTHLY, deliver=[{"by": "webhook", "url": receiver.url}])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    secret = made["webhook_secret"]
    for path in ("/definitions", "/deliveries", f"/definitions/{made['id']}/runs"):
        assert secret not in api.get(path).text
    (definition,) = clock.rows(Definition)
    assert secret not in str(vars(definition))
    assert secret.encode() not in receiver.got[0][1]


def test_pauses_of_a_delivery_span_a_day() -> None:
    assert 12 * 3600 < sum(sending.PAUSES_S) < 26 * 3600
