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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from flask import current_app
from itsdangerous import URLSafeSerializer
from sqlalchemy import Connection, select, update
from standardwebhooks import Webhook

from webapp import mail
from webapp.delivery.definitions import signing_secrets
from webapp.delivery.letters import MEGABYTE, letter
from webapp.delivery.models import (
    GIVEN_UP,
    SENDING,
    SENT,
    UNKNOWN,
    WAITING,
    Definition,
    DefinitionRun,
    Delivery,
)
from webapp.engine import export
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.errors import Conflict, InvalidParams, Unavailable
from webapp.extensions import db
from webapp.jobs import FAILED, Attempt, Ending, Job, Task
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.objects import put_object
from webapp.lib.public_addresses import PublicAdapter, check_address
from webapp.security import derived_key, secret_keys

# Ten seconds to eleven hours apart, a day in all.
PAUSES_S = (10, 60, 300, 1800, 7200, 18_000, 39_600)
ANSWER_WITHIN_S = (5, 20)
SENTENCE_LENGTH = 300


@dataclass(frozen=True)
class Parcel:
    """What is sent: a delivery with all it speaks of. `report` may be gone, of a failed run."""

    delivery: Delivery
    definition: Definition
    run: DefinitionRun
    report: Report | None

    @property
    def address(self) -> str:
        """Return where people look at it."""
        path = f"/reports/{self.report.id}" if self.report else f"/saved/{self.definition.id}"
        return public_url() + path


class NotSent(Exception):
    """A try that failed; `for_good` where another one would fare no better.

    status: what such a delivery is then; not known is not the same as given up
    """

    def __init__(self, answer: str, *, for_good: bool = False, status: str = GIVEN_UP) -> None:
        super().__init__(answer)
        self.answer, self.for_good, self.status = answer[:SENTENCE_LENGTH], for_good, status


def public_url() -> str:
    """Return what links in mails and webhooks begin with."""
    config = current_app.config
    return str(config["PUBLIC_URL"] or f"http://{config['HOST']}:{config['PORT']}").rstrip("/")


def deliver(attempt: Attempt, payload: dict[str, Any]) -> None:
    """Try a delivery once, and write down what came of it and when the next try is."""
    delivery = db.session.get(Delivery, payload["delivery"])
    if delivery is None or delivery.status not in {WAITING, SENDING}:
        return
    definition = db.session.get_one(Definition, delivery.definition_id)
    run = db.session.get_one(DefinitionRun, delivery.run_id)
    report = db.session.get(Report, run.report_id) if run.report_id else None
    parcel = Parcel(delivery, definition, run, report)
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
        answer = SENDERS[delivery.target["by"]](parcel)
    except NotSent as failure:
        _write_down(delivery, failure)
    else:
        delivery.status, delivery.sent_at, delivery.next_try_at = SENT, utcnow(), None
        delivery.tries = [*delivery.tries, _try(True, answer)]
    db.session.commit()


def _write_down(delivery: Delivery, failure: NotSent) -> None:
    delivery.tries = [*delivery.tries, _try(False, failure.answer)]
    delivery.failures += 1
    if failure.for_good or delivery.failures > len(PAUSES_S):
        delivery.status, delivery.next_try_at = failure.status, None
        return
    pause_s = PAUSES_S[delivery.failures - 1] * random.uniform(0.8, 1.2)  # noqa: S311
    delivery.status, delivery.next_try_at = WAITING, utcnow() + timedelta(seconds=pause_s)


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


def resend(delivery: Delivery) -> None:
    """Let a delivery be sent again at once, in the session; the caller commits. Raises: Conflict"""
    if delivery.status in {WAITING, SENDING}:
        raise Conflict("It is being sent already.")
    delivery.status, delivery.next_try_at, delivery.failures = WAITING, utcnow(), 0


# What is told


def figures(report: Report) -> list[dict[str, Any]]:
    """Return the figures of a result, as its page shows them on top."""
    shown = kinds()[report.kind].figures(report.head or {})
    return [{"label": figure.label, "value": figure.value, "note": figure.note} for figure in shown]


def event(parcel: Parcel) -> dict[str, Any]:
    """Return the body of a webhook: ids, status, figures and links; never a secret."""
    report, data = parcel.report, dict[str, Any]()
    if report is not None:
        own = f"{public_url()}/api/v1/reports/{report.id}"
        data = {
            "report": report.id,
            "kind": report.kind,
            "status": report.status,
            "figures": figures(report) if report.has_result else [],
            "links": {"self": own, "result": f"{own}/result", "page": parcel.address},
        }
    return {
        "type": parcel.delivery.event,
        "timestamp": rfc3339(parcel.delivery.created_at),
        "data": {
            "definition": parcel.definition.id,
            "name": parcel.definition.name,
            "delivery": parcel.delivery.id,
            "period": parcel.run.period,
            "due_at": rfc3339(parcel.run.due_at),
            "missed": parcel.run.missed,
            "error": parcel.run.error,
            **data,
        },
    }


def files(report: Report, formats: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of a result in each format; a file is gone after its turn."""
    kind = kinds()[report.kind]
    for fmt in formats:
        with tempfile.NamedTemporaryFile() as file:
            export.write(kind, report, fmt, file)
            file.flush()
            yield export.file_name(report, fmt), Path(file.name)


# How it is sent


def _by_webhook(parcel: Parcel) -> str:
    url = parcel.delivery.target["url"]
    private = bool(current_app.config["FETCH_PRIVATE_ADDRESSES"])
    body, now = json.dumps(event(parcel)), datetime.now(UTC)
    signatures = " ".join(
        Webhook(secret).sign(parcel.delivery.id, now, body)
        for secret in signing_secrets(parcel.definition)
    )
    headers = {
        "Content-Type": "application/json",
        "webhook-id": parcel.delivery.id,
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
        _switch_off(parcel)
        raise NotSent("HTTP 410: the receiver is gone; the webhook is switched off.", for_good=True)
    if not 200 <= answer.status_code < 300:
        raise NotSent(f"HTTP {answer.status_code}")
    return f"HTTP {answer.status_code}"


def _switch_off(parcel: Parcel) -> None:
    url = parcel.delivery.target["url"]
    parcel.definition.deliver = [
        {**target, "off": True} if target.get("url") == url else target
        for target in parcel.definition.deliver
    ]


def _into_folder(parcel: Parcel) -> str:
    target, report = parcel.delivery.target, parcel.report
    if report is None:
        raise NotSent("The report is gone.", for_good=True)
    folder = (parcel.run.period or f"{parcel.run.due_at:%Y-%m-%dT%H%M%SZ}").replace(":", "")
    names = []
    try:
        for name, path in files(report, target["attach"]):
            with path.open("rb") as file:
                put_object(target["url"], f"{folder}/{name}", iter(lambda: file.read(1 << 16), b""))
            names.append(f"{folder}/{name}")
    except Unavailable as error:
        raise NotSent(error.message) from error
    return ", ".join(names)


def _by_mail(parcel: Parcel) -> str:
    target = parcel.delivery.target
    if not mail.is_set_up():
        raise NotSent("This installation sends no mail: SMTP_URL is not set.", for_good=True)
    reader = target["to"][0]
    attached, left_out, room = [], [], current_app.config["MAIL_ATTACH_MB"] * MEGABYTE
    if parcel.report is not None and parcel.report.has_result:
        for name, path in files(parcel.report, target["attach"]):
            if path.stat().st_size > room:
                left_out.append(name)
                continue
            attached.append((name, path.read_bytes()))
            room -= path.stat().st_size
    token = unsubscribe_token(parcel.definition.id, reader)
    message = letter(
        parcel,
        link=parcel.address,
        unsubscribe_link=f"{public_url()}/unsubscribe/{token}",
        attachments=attached,
        left_out=left_out,
    )
    try:
        mail.send_message(message)
    except mail.MailRefused as error:
        raise NotSent(f"{error.reason} from the mail server.", for_good=error.is_final) from None
    return f"handed to the mail server for {reader}"


SENDERS = {"email": _by_mail, "webhook": _by_webhook, "folder": _into_folder}
DELIVER = Task(
    "deliver", run=deliver, noun="delivery", timeout_s=600, kept_s=0, on_end=_tell_failure
)


# Unsubscribing


def unsubscribe_token(definition_id: str, email: str) -> str:
    """Return what proves that a reader of this mail wants no more of them."""
    return _signer().dumps([definition_id, email])


def subscriber(token: str) -> str:
    """Return whose address a token is about; raises BadSignature."""
    return str(_signer().loads(token)[1])


def unsubscribe(token: str) -> None:
    """Take an address out of a definition's mails; commits. Raises BadSignature."""
    definition_id, email = _signer().loads(token)
    definition = db.session.get(Definition, definition_id)
    if definition is None:
        return
    kept = []
    for target in definition.deliver:
        if target["by"] == "email":
            target = {**target, "to": [one for one in target["to"] if one != email]}
        if target.get("to") != []:
            kept.append(target)
    definition.deliver = kept
    db.session.commit()


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer([derived_key(key, "unsubscribe") for key in secret_keys()][::-1])
