"""Bytes to a checked answer: the partner's envelope, in the order its guide prescribes.

Success is a JSON object whose errorCode is the number 0. A missing errorCode is no success, and
HTTP's own status says nothing where an errorCode is there.
"""

from __future__ import annotations

import json
import re
from typing import Any

from webapp.partner.credentials import Scrubber
from webapp.partner.data_centers import data_center_of
from webapp.partner.failures import Failure, http_failure
from webapp.partner.refusals import rule_of
from webapp.partner.retry import retry_after_s
from webapp.partner.wire import Reply

_CALL_ID = re.compile(r"[0-9A-Za-z._\-]{1,64}", re.ASCII)


def judge(
    reply: Reply, *, first_call: bool, scrubber: Scrubber, retry_after_cap_s: float
) -> dict[str, Any] | Failure:
    """Return the answer's object when it is a success, what is wrong with it otherwise."""
    if 300 <= reply.status < 400:
        return http_failure(reply.status, None, "")
    wait_s = retry_after_s(reply.headers.get("Retry-After"), retry_after_cap_s)
    answer, trouble = _object(reply.body)
    if answer is None:
        return http_failure(reply.status, wait_s, trouble)
    code = answer["errorCode"]
    if code == 0:
        return answer
    rule = rule_of(code)
    return Failure(
        rule.sentence,
        rule.kind,
        rule.tries,
        stops=rule.stops or (rule.stops_first and first_call),
        slows=rule.slows or reply.status == 429,
        elsewhere=rule.elsewhere,
        longer=rule.longer,
        retry_after_s=wait_s,
        data_center=data_center_of(answer.get("apiDomain")) if code == 301001 else None,
        code=code,
        call_id=call_id_of(answer, scrubber),
        quoted=scrubber.scrub(answer.get("errorDetails") or answer.get("errorMessage")),
    )


def call_id_of(answer: dict[str, Any], scrubber: Scrubber) -> str | None:
    """Return the number the partner's support asks for, None when it is not a plain word."""
    call_id = answer.get("callId")
    if not isinstance(call_id, str) or not _CALL_ID.fullmatch(call_id):
        return None
    return scrubber.scrub(call_id) or None


def _object(body: bytes) -> tuple[dict[str, Any] | None, str]:
    """Return the JSON object with a whole-number errorCode, or what the body is instead."""
    if not body.strip():
        return None, "it is empty"
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        if body.lstrip()[:1] == b"<":
            return None, "it is a web page, not JSON"
        return None, "it is not JSON, or was cut short"
    if not isinstance(answer, dict):
        return None, "it is no JSON object"
    code = answer.get("errorCode")
    if not isinstance(code, int) or isinstance(code, bool):
        return None, "it has no errorCode"
    return answer, ""
