"""The task that sends a delivery: by e-mail, by webhook, into a folder; and what came of each try.

A delivery is marked as being sent before anything leaves. An attempt that finds the mark of a lost
one sends webhooks and files again, which carry the same id and name; a mail may have left, so it is
not sent twice but told as unknown, for somebody to look and resend.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from flask import current_app
from itsdangerous import URLSafeSerializer
from sqlalchemy import Connection, Text, cast, select, update
from standardwebhooks import Webhook

from webapp import mail
from webapp.accounts import User, person_erasing, scope_of
from webapp.delivery.definitions import signing_secrets
from webapp.delivery.emails import email_of
from webapp.delivery.models import GIVEN_UP, SENDING, SENT, UNKNOWN, WAITING, Definition, Delivery
from webapp.delivery.results import answer
from webapp.engine import export
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.service import find_report
from webapp.errors import InvalidParams, NotFound, Unavailable
from webapp.extensions import db, public_url
from webapp.jobs import FAILED, Attempt, Ending, Job, Task
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.objects import put_object
from webapp.lib.public_addresses import PublicAdapter, check_address
from webapp.security import signing_keys

# Ten seconds to eleven hours apart, a day in all.
PAUSES_S = (10, 60, 300, 1800, 7200, 18_000, 39_600)
ANSWER_WITHIN_S = (5, 20)
SENTENCE_LENGTH = 300
MEGABYTE = 1024 * 1024


class NotSent(Exception):
    """A try that failed; `for_good` where another one would fare no better.

    status: what such a delivery is then; not known is not the same as given up
    """

    def __init__(self, answer: str, *, for_good: bool = False, status: str = GIVEN_UP) -> None:
        super().__init__(answer)
        self.answer, self.for_good, self.status = answer[:SENTENCE_LENGTH], for_good, status


def page_url(delivery: Delivery) -> str:
    """Return where people look at what is sent; of a failed run the report may be gone."""
    report = delivery.run.report
    path = f"/reports/{report.id}" if report else f"/saved/{delivery.definition_id}"
    return public_url() + path


def deliver(attempt: Attempt, payload: dict[str, Any]) -> None:
    """Try a delivery once, and write down what came of it and when the next try is."""
    delivery = db.session.get(Delivery, payload["delivery"])
    if delivery is None or delivery.status not in {WAITING, SENDING}:
        return
    was_begun = delivery.status == SENDING
    delivery.status = SENDING
    db.session.commit()
    attempt.check()
    try:
        if was_begun and delivery.target["by"] == "email":
            raise NotSent(
                "The worker was lost while the mail was sent: it may have gone out or not. "
                "Resend it where it did not arrive.",
                for_good=True,
                status=UNKNOWN,
            )
        _check_may_read(delivery)
        answer = SENDERS[delivery.target["by"]](delivery)
    except NotSent as failure:
        delivery.tries = [*delivery.tries, _try(False, failure.answer)]
        delivery.failures += 1
        if failure.for_good or delivery.failures > len(PAUSES_S):
            delivery.status, delivery.next_try_at = failure.status, None
        else:
            pause_s = PAUSES_S[delivery.failures - 1] * random.uniform(0.8, 1.2)  # noqa: S311
            delivery.status, delivery.next_try_at = WAITING, utcnow() + timedelta(seconds=pause_s)
    else:
        delivery.status, delivery.sent_at, delivery.next_try_at = SENT, utcnow(), None
        delivery.tries = [*delivery.tries, _try(True, answer)]
    db.session.commit()


def _check_may_read(delivery: Delivery) -> None:
    """Raise NotSent where the owner may not read what is sent: it may be theirs no more."""
    owner, report = delivery.definition.owner, delivery.run.report
    scope = scope_of(owner, delivery.company_id)
    try:
        if report is not None and scope is not None:
            find_report(scope, report.id)
    except NotFound:
        raise NotSent("Its owner may not read this report any more.", for_good=True) from None


def _tell_failure(connection: Connection, job_id: str, ending: Ending) -> Ending:
    """Give a delivery up whose job failed of a fault, or whose worker was lost too often."""
    if ending.status != FAILED:
        return ending
    payload = connection.execute(select(Job.payload).where(Job.id == job_id)).scalar_one()
    mine = (Delivery.id == payload["delivery"]) & Delivery.status.in_((WAITING, SENDING))
    tries = connection.execute(select(Delivery.tries).where(mine)).scalar_one_or_none()
    if tries is not None:
        told = [*tries, _try(False, (ending.error or "The worker was lost.")[:SENTENCE_LENGTH])]
        values = {"status": GIVEN_UP, "next_try_at": None, "tries": told}
        connection.execute(update(Delivery).where(mine).values(values))
    return ending


def _try(ok: bool, answer: str) -> dict[str, Any]:
    return {"at": rfc3339(utcnow()), "ok": ok, "answer": answer}


# What is told


def event(delivery: Delivery) -> dict[str, Any]:
    """Return the body of a webhook: ids, status, figures and links; never a secret."""
    run, data = delivery.run, dict[str, Any]()
    if run.report is not None:
        own = f"{public_url()}/api/v1/reports/{run.report.id}"
        data = {
            "report": run.report.id,
            "kind": run.report.kind,
            "status": run.report.status,
            "figures": [
                {"label": figure.label, "value": figure.value, "note": figure.note}
                for figure in answer(run.report).figures
            ],
            "links": {"self": own, "result": f"{own}/result", "page": page_url(delivery)},
        }
    return {
        "type": delivery.event,
        "timestamp": rfc3339(delivery.created_at),
        "data": {
            "definition": delivery.definition_id,
            "name": delivery.definition.name,
            "delivery": delivery.id,
            "period": run.period,
            "due_at": rfc3339(run.due_at),
            "missed": run.missed,
            "error": run.error,
            **({"alert": delivery.about} if delivery.about else {}),
            **data,
        },
    }


def files(report: Report, formats: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of a result in each format; a file is gone after its turn."""
    for fmt in formats:
        with tempfile.NamedTemporaryFile() as file:
            export.write(kinds()[report.kind], report, fmt, file)
            file.flush()
            yield export.file_name(report, fmt), Path(file.name)


# How it is sent


def _by_webhook(delivery: Delivery) -> str:
    url, definition = delivery.target["url"], delivery.definition
    private = bool(current_app.config["FETCH_PRIVATE_ADDRESSES"])
    body, now = json.dumps(event(delivery)), utcnow()
    signatures = " ".join(
        Webhook(secret).sign(delivery.id, now, body) for secret in signing_secrets(definition)
    )
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signatures,
    }
    with requests.Session() as session:
        session.trust_env = False
        try:
            check_address(url, private_allowed=private)
            if not private:
                session.mount("http://", PublicAdapter())
                session.mount("https://", PublicAdapter())
            answer = session.post(
                url,
                body,
                headers=headers,
                timeout=ANSWER_WITHIN_S,
                allow_redirects=False,
                stream=True,
            )
            answer.close()
        except InvalidParams as error:
            raise NotSent(next(iter(error.errors.values())), for_good=True) from None
        except requests.RequestException as error:
            raise NotSent(f"{type(error).__name__} from the server.") from error
    if answer.status_code == 410:
        _hold(definition)
        definition.deliver = [
            target | ({"off": True} if target.get("url") == url else {})
            for target in definition.deliver
        ]
        raise NotSent("HTTP 410: the receiver is gone; the webhook is switched off.", for_good=True)
    if not 200 <= answer.status_code < 300:
        raise NotSent(f"HTTP {answer.status_code}")
    return f"HTTP {answer.status_code}"


def _into_folder(delivery: Delivery) -> str:
    target, run = delivery.target, delivery.run
    if run.report is None:
        raise NotSent("The report is gone.", for_good=True)
    folder = (run.period or f"{run.due_at:%Y-%m-%dT%H%M%SZ}").replace(":", "")
    names = []
    try:
        for name, path in files(run.report, target["attach"]):
            with path.open("rb") as file:
                put_object(target["url"], f"{folder}/{name}", iter(lambda: file.read(1 << 16), b""))
            names.append(f"{folder}/{name}")
    except Unavailable as error:
        raise NotSent(error.message) from error
    return ", ".join(names)


def _by_mail(delivery: Delivery) -> str:
    if not mail.is_set_up():
        raise NotSent("This installation sends no mail: SMTP_URL is not set.", for_good=True)
    target, report = delivery.target, delivery.run.report
    attached, left_out, room = [], [], current_app.config["MAIL_ATTACH_MB"] * MEGABYTE
    if report is not None and report.has_result:
        for name, path in files(report, target["attach"]):
            if path.stat().st_size > room:
                left_out.append(name)
                continue
            attached.append((name, path.read_bytes()))
            room -= path.stat().st_size
    # What proves that a reader of this mail wants no more of them.
    token = unsubscribe_signer().dumps([delivery.definition_id, target["to"][0]])
    message = email_of(
        delivery,
        link=page_url(delivery),
        unsubscribe_link=f"{public_url()}/unsubscribe/{token}",
        attachments=attached,
        left_out=left_out,
    )
    try:
        mail.send_message(message)
    except mail.MailRefused as error:
        raise NotSent(f"{error.reason} from the mail server.", for_good=error.is_final) from None
    return f"handed to the mail server for {target['to'][0]}"


SENDERS = {"email": _by_mail, "webhook": _by_webhook, "folder": _into_folder}
DELIVER = Task(
    "deliver", run=deliver, noun="delivery", timeout_s=600, kept_s=0, on_end=_tell_failure
)


# Unsubscribing


def unsubscribe(definition_id: str, email: str) -> None:
    """Take an address out of a definition's mails; commits."""
    definition = db.session.get(Definition, definition_id)
    if definition is not None:
        _take_out(definition, email)
        db.session.commit()


@person_erasing.connect
def forget_reader(_sender: object, *, user: User) -> None:
    """Take somebody out of all mails, in the session."""
    reads = cast(Definition.deliver, Text).icontains(user.email, autoescape=True)
    for definition in db.session.scalars(select(Definition).where(reads)):
        _take_out(definition, user.email)


def _hold(definition: Definition) -> None:
    """Read anew who is told: it may have been changed since. Others wait until it is stored."""
    db.session.refresh(definition, ["deliver"], with_for_update=True)


def _take_out(definition: Definition, email: str) -> None:
    _hold(definition)
    kept = []
    for target in definition.deliver:
        if target["by"] == "email":
            target = {**target, "to": [one for one in target["to"] if one != email]}
        if target.get("to") != []:
            kept.append(target)
    definition.deliver = kept


def unsubscribe_signer() -> URLSafeSerializer:
    """Return what signs which definition's mails, and whose address, a link is about."""
    return URLSafeSerializer(signing_keys("unsubscribe"))
