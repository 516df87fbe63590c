"""One try's outcome: an answer that may be believed, or what went wrong, as a value.

Success is HTTP 2xx with a JSON object whose errorCode is the number 0. A missing errorCode is no
success; where there is one that is not 0 it decides, whatever HTTP's own status.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.exceptions import TimeoutError as PoolTimeout

from webapp.errors import PartnerContract, PartnerError, PartnerRefused, PartnerUnavailable
from webapp.partner.credentials import Scrubber, data_center_of
from webapp.partner.error_codes import ALL_TRIES, FEW_TRIES, ONE_TRY, RULES, Kind, Rule, rule_of
from webapp.partner.limits import http_date, retry_after_s
from webapp.partner.transport import BodyBroken, BodyTooLong, HttpResponse

SITE_LIST = "admin.getUserSites"
_NOT_UTF8 = "it is no UTF-8"
_ERRORS: dict[Kind, type[PartnerError]] = {
    "contract": PartnerContract,
    "refused": PartnerRefused,
    "unavailable": PartnerUnavailable,
}
_CALL_ID = re.compile(r"[0-9A-Za-z._\-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Failure(Rule):
    """One failed try, and what is to be done about it."""

    kind: Kind = "unavailable"
    tries: int = ALL_TRIES
    retry_after_s: float | None = None
    data_center: str | None = None
    code: int | None = None
    call_id: str | None = None
    quoted: str = ""
    cause: str = "unreadable"

    @property
    def label(self) -> str:
        """Return what metrics count it under: a code of the table, or a cause of a short list."""
        if self.code is None:
            return self.cause
        return str(self.code) if self.code in RULES else "other_code"

    def error(self, tries: int = 1) -> PartnerError:
        """Return what is raised when no further try is made."""
        message = self.sentence
        if self.quoted:
            message += f" It says: “{self.quoted}”."
        if tries > 1:
            message += f" Asked {tries} times."
        reference = [f"error {self.code}"] if self.code is not None else []
        reference += [f"callId {self.call_id}"] if self.call_id else []
        if reference:
            message += f" ({', '.join(reference)})"
        return _ERRORS[self.kind](
            message,
            code=self.code,
            call_id=self.call_id,
            retry_after_s=self.retry_after_s,
            stops_run=self.aborts_run,
        )


def transport_failure(error: Exception) -> Failure:
    """Return what an exception of requests, urllib3 or our own reading means."""
    causes = list(_causes_of(error))
    if isinstance(error, BodyTooLong):
        return Failure(
            "The partner's answer is larger than it may be.", "contract", ONE_TRY, cause="too_large"
        )
    if isinstance(error, BodyBroken):
        return Failure("The partner's answer arrived damaged.", "contract", cause="damaged")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Failure(
            "The certificate of the partner's server is not trusted, so nothing was sent: check "
            "the address, the clock and the certificate authorities of this machine.",
            "refused",
            ONE_TRY,
            aborts_run=True,
            cause="certificate",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return Failure(
            "The partner cannot be reached through the proxy: check PARTNER_PROXY, and that it "
            "lets this program pass.",
            tries=FEW_TRIES,
            cause="proxy",
        )
    if any(isinstance(cause, NameResolutionError) for cause in causes):
        return Failure(
            "The partner's server is not found by name: check this machine's network.",
            tries=FEW_TRIES,
            cause="name",
        )
    if isinstance(error, requests.Timeout | PoolTimeout | TimeoutError):
        return Failure(
            "The partner's API did not answer in time: try again later.", cause="timeout"
        )
    if any(isinstance(cause, NewConnectionError) for cause in causes):
        return Failure(
            "The partner's server cannot be reached: check this machine's network.",
            tries=FEW_TRIES,
            cause="unreachable",
        )
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Failure(
            "No encrypted connection to the partner's server could be made.",
            tries=FEW_TRIES,
            cause="tls",
        )
    return Failure(
        "The connection to the partner's API broke off: try again later.", cause="broken_off"
    )


def http_failure(status: int, retry_after_s: float | None, what: str) -> Failure:
    """Return what an HTTP answer without a readable errorCode means; `what` says how it looks."""
    if 300 <= status < 400:
        return Failure(
            f"The partner's server answered with a redirect (HTTP {status}), which is never "
            "followed: the secret goes to known hosts only.",
            "refused",
            ONE_TRY,
            cause="redirect",
        )
    if status == 429:
        return Failure(
            "The partner's server is asked too often (HTTP 429): try again later.",
            throttles=True,
            retry_after_s=retry_after_s,
            cause="http_429",
        )
    if status in {500, 502, 503, 504}:
        return Failure(
            f"The partner's server is not available (HTTP {status}): try again later.",
            retry_after_s=retry_after_s,
            cause=f"http_{status}",
        )
    tries = ALL_TRIES if 200 <= status < 300 else FEW_TRIES
    return Failure(
        f"The partner's answer cannot be read: {what} (HTTP {status}).", "contract", tries
    )


def _causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and all it was made from; requests and urllib3 hide causes in `reason`."""
    open_, seen = [error], set()
    while open_:
        current = open_.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        open_ += [current.__cause__, current.__context__, getattr(current, "reason", None)]
        open_ += [argument for argument in current.args if isinstance(argument, BaseException)]


def parse_response(
    response: HttpResponse,
    *,
    method: str,
    scrubber: Scrubber,
    retry_after_cap_s: float,
    warn: Callable[[str], None],
) -> dict[str, Any] | Failure:
    """Return the answer's object when it is a success, what is wrong with it otherwise.

    warn: told what was put right: a damaged byte among the names of sites and configurations
    """
    if 300 <= response.status < 400:
        return http_failure(response.status, None, "")
    wait_s = retry_after_s(response.headers.get("Retry-After"), retry_after_cap_s)
    answer, trouble = _json_object(response.body)
    if trouble == _NOT_UTF8 and method.startswith("admin."):
        answer, trouble = _json_object(response.body.decode("utf-8", "replace").encode())
        warn("An answer of the partner holds damaged characters; they are shown as \ufffd.")
    if answer is None:
        return http_failure(response.status, wait_s, trouble)
    code = answer["errorCode"]
    if code == 0 and 200 <= response.status < 300:
        return answer
    if code == 0:
        return http_failure(response.status, wait_s, "its errorCode is 0 all the same")
    rule = rule_of(code)
    details = answer.get("errorDetails") or answer.get("errorMessage")
    wrong_place = code == 500001 and "datacenter is invalid" in str(details).lower()
    heeded = {
        "sentence": f"{rule.sentence}{_clock_sentence(response) if code == 403002 else ''}",
        "aborts_run": rule.aborts_run or (rule.aborts_first and method == SITE_LIST),
        "throttles": rule.throttles or response.status == 429,
        "retry_elsewhere": rule.retry_elsewhere or wrong_place,
    }
    return Failure(
        **vars(rule) | heeded,
        retry_after_s=wait_s,
        data_center=data_center_of(answer.get("apiDomain")) if code == 301001 else None,
        code=code,
        call_id=call_id_of(answer, scrubber),
        quoted=scrubber.scrub(details),
    )


def _clock_sentence(response: HttpResponse) -> str:
    """Return by how much this machine's clock differs from the partner's, by the answer's Date."""
    theirs = http_date(response.headers.get("Date"))
    if theirs is None:
        return " Check the clock of this machine."
    ahead_s = round((datetime.now(UTC) - theirs).total_seconds())
    if abs(ahead_s) < 2:
        return " This machine's clock agrees with the partner's."
    amount = f"{abs(ahead_s)} s"
    if abs(ahead_s) >= 120:
        minutes = round(abs(ahead_s) / 60)
        amount = f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"
    where = "ahead of" if ahead_s > 0 else "behind"
    return f" The clock of this machine is {amount} {where} the partner's: set it right."


def call_id_of(answer: dict[str, Any], scrubber: Scrubber) -> str | None:
    """Return the number the partner's support asks for, None when it is not a plain word."""
    call_id = answer.get("callId")
    if not isinstance(call_id, str) or not _CALL_ID.fullmatch(call_id):
        return None
    return scrubber.scrub(call_id) or None


def _json_object(body: bytes) -> tuple[dict[str, Any] | None, str]:
    """Return the JSON object with a whole-number errorCode, or what the body is instead."""
    if not body.strip():
        return None, "it is empty"
    try:
        answer = json.loads(body, object_pairs_hook=_strict if _may_repeat(body) else None)
    except UnicodeDecodeError:
        return None, _NOT_UTF8
    except _Repeated:
        return None, "it names a member twice"
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


class _Repeated(ValueError):
    """An object names a member twice: which of the two is meant cannot be known."""


def _may_repeat(body: bytes) -> bool:
    """Return whether members are looked at one by one; in thousands of rows it costs too much."""
    return len(body) < 10_000 or body.count(b'"errorCode"') > 1


def _strict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Repeated
    return members
