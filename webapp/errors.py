"""The exception tree of the application: plain Python, no Flask.

Every message is a sentence its reader can act on. `permanent` says whether trying again can help.
`webapp/error_pages.py` is the one place where an error becomes a page, a partial or JSON.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorType:
    """A type of error as programs tell it from others: its address is `/api/errors/<slug>`."""

    status: int
    title: str
    when: str
    then: str


WAIT = "Wait for as many seconds as Retry-After says, then send it again."
# By their slugs, which never change: clients compare them.
ERROR_TYPES = {
    "unreadable": ErrorType(
        400,
        "Unreadable request",
        "The body is not valid JSON, or the request cannot be parsed.",
        "Correct the request.",
    ),
    "not-signed-in": ErrorType(
        401,
        "Sign in first",
        "Credentials are missing or no longer valid. The answer does not say whether the key or "
        "the secret is wrong.",
        "Send an API key and its secret with HTTP Basic, or a token that has not expired.",
    ),
    "not-allowed": ErrorType(
        403, "Not allowed", "The caller's role does not allow this.", "Ask an admin."
    ),
    "not-found": ErrorType(
        404,
        "Not found",
        "It does not exist, or it belongs to another company. The answer does not say which.",
        "Check the ID, and which company the key belongs to.",
    ),
    "method-not-allowed": ErrorType(
        405, "Method not allowed", "The address has no such method.", "See the Allow header."
    ),
    "conflict": ErrorType(
        409,
        "Conflict",
        "The state of the resource does not allow this; for example, a report has not ended.",
        "Read `detail`, fetch the resource, and try again when its state has changed.",
    ),
    "too-large": ErrorType(
        413, "Too large", "The body is larger than this address accepts.", "Send less at a time."
    ),
    "uri-too-long": ErrorType(
        414, "URI too long", "The address with its query is too long.", "Ask for less at a time."
    ),
    "unsupported-type": ErrorType(
        415,
        "Unsupported content type",
        "This address does not accept the Content-Type of the body.",
        "Send JSON, with Content-Type: application/json.",
    ),
    "invalid-params": ErrorType(
        422,
        "Some values cannot be used",
        "Fields are missing or have values that cannot be used; `errors` says why for each.",
        "Correct the fields that `errors` names.",
    ),
    "too-many": ErrorType(429, "Too many tries", "There were too many requests or tries.", WAIT),
    "too-many-waiting": ErrorType(
        429,
        "Too many reports wait",
        "The company has as many waiting reports as COMPANY_WAITING_MOST allows.",
        "Wait for some of them to end, or cancel one.",
    ),
    "fault": ErrorType(
        500,
        "Something went wrong",
        "The program has a fault.",
        "Give the operator the request_id, which is in the log. Trying again may help.",
    ),
    "not-offered": ErrorType(
        501,
        "Not offered here",
        "A client of another system asked for something that this program does not offer.",
        "Do what `detail` suggests instead.",
    ),
    "partner": ErrorType(
        502,
        "The partner's API did not answer as expected",
        "The partner's API was unavailable, refused, or gave an answer that cannot be read.",
        "Try again later. If it refused, check the credentials.",
    ),
    "unavailable": ErrorType(
        503,
        "Not available right now",
        "A part of this installation is unavailable, or no more streams can be opened.",
        WAIT + " With the same Idempotency-Key no second report is made.",
    ),
}


def error_type(status: int, title: str = "") -> str:
    """Return the slug of an error's type: that of its title, else of its status."""
    known = {(one.status, one.title): slug for slug, one in reversed(ERROR_TYPES.items())}
    by_status = {one.status: slug for slug, one in reversed(ERROR_TYPES.items())}
    fallback = "fault" if status >= 500 else "unreadable"
    return known.get((status, title)) or by_status.get(status, fallback)


class ReportError(Exception):
    """A sentence for the reader; `permanent` where trying again is useless.

    slug: of ERROR_TYPES, which has the status and the title
    """

    status = 500
    title = "The report could not be made"
    permanent = True

    def __init_subclass__(cls, slug: str = "") -> None:
        super().__init_subclass__()
        if slug:
            cls.status, cls.title = ERROR_TYPES[slug].status, ERROR_TYPES[slug].title

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unreadable(ReportError, slug="unreadable"):
    """400: the request could not be read at all (broken JSON, wrong encoding)."""


class NotSignedIn(ReportError, slug="not-signed-in"):
    """401: no credentials, or wrong ones."""


class NotAllowed(ReportError, slug="not-allowed"):
    """403: known, but not this caller's to do."""


class NotFound(ReportError, slug="not-found"):
    """404: unknown, or not this caller's to see; the two are never told apart."""


class Conflict(ReportError, slug="conflict"):
    """409: the thing is not in a state that allows this."""


class NotOffered(ReportError, slug="not-offered"):
    """501: known to clients of another system, and not done here."""


class TooLarge(ReportError, slug="too-large"):
    """413: the body is larger than this address takes."""


class UnsupportedType(ReportError, slug="unsupported-type"):
    """415: a content type this address does not read."""


class InvalidParams(ReportError, slug="invalid-params"):
    """422: values that cannot be used; `errors` holds a sentence per field."""

    def __init__(self, errors: dict[str, str], message: str | None = None) -> None:
        super().__init__(message or " ".join(dict.fromkeys(errors.values())))
        self.errors = errors


class TooMany(ReportError, slug="too-many"):
    """429: too many tries; `retry_after_s` says when the next one may come (seconds).

    quota: how many are granted within how many seconds, where that is fixed
    """

    permanent = False

    def __init__(
        self, message: str, *, retry_after_s: int, quota: tuple[int, int] | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_s, self.quota = retry_after_s, quota


class TooManyWaiting(TooMany, slug="too-many-waiting"):
    """429: as many reports of a company wait as may."""


class Unavailable(ReportError, slug="unavailable"):
    """503: a part of this installation is away (Redis, database, no room for another stream)."""

    permanent = False

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PartnerError(ReportError, slug="partner"):
    """Base of all that the partner's API can do to us.

    `code` is the partner's six-digit errorCode or None; `call_id` its callId, quoted for support.
    `retry_after_s` is how long it asked to be left alone.
    `stops_run` says that no other site will fare better (wrong secret, unknown key).
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        call_id: str | None = None,
        retry_after_s: float | None = None,
        stops_run: bool = False,
    ) -> None:
        super().__init__(message)
        self.code, self.call_id = code, call_id
        self.retry_after_s, self.stops_run = retry_after_s, stops_run


class PartnerUnavailable(PartnerError):
    """Timeout, connection trouble, 429, 5xx: worth trying again."""

    permanent = False


class PartnerRefused(PartnerError):
    """The partner understood and said no."""


class PartnerContract(PartnerError):
    """The answer cannot be read as the partner documents it; never guessed at."""


class RunEnded(ReportError):
    """The report is not this attempt's to write any more: cancelled, deleted, or given away."""

    status = 409
    title = "The run has ended"
