"""The exception tree of the application: plain Python, no Flask.

Every message is a sentence its reader can act on. `permanent` says whether trying again can help.
`webapp/error_pages.py` is the one place where an error becomes a page, a partial or JSON.
"""

from __future__ import annotations


class ReportError(Exception):
    """A sentence for the reader; `permanent` where trying again is useless."""

    status = 500
    title = "The report could not be made"
    permanent = True

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unreadable(ReportError):
    """400: the request could not be read at all (broken JSON, wrong encoding)."""

    status = 400
    title = "Unreadable request"


class NotSignedIn(ReportError):
    """401: no credentials, or wrong ones."""

    status = 401
    title = "Sign in first"


class NotAllowed(ReportError):
    """403: known, but not this caller's to do."""

    status = 403
    title = "Not yours to do"


class NotFound(ReportError):
    """404: unknown, or not this caller's to see; the two are never told apart."""

    status = 404
    title = "Not found"


class Conflict(ReportError):
    """409: the thing is not in a state that allows this."""

    status = 409
    title = "Not now"


class TooLarge(ReportError):
    """413: the body is larger than this address takes."""

    status = 413
    title = "Too large"


class UnsupportedType(ReportError):
    """415: a content type this address does not read."""

    status = 415
    title = "Unsupported content type"


class InvalidParams(ReportError):
    """422: values that cannot be used; `errors` holds a sentence per field."""

    status = 422
    title = "Some values cannot be used"

    def __init__(self, errors: dict[str, str], message: str | None = None) -> None:
        super().__init__(message or " ".join(errors.values()))
        self.errors = errors


class TooMany(ReportError):
    """429: too many tries; `retry_after_s` says when the next one may come (seconds).

    quota: how many are granted within how many seconds, where that is fixed
    """

    status = 429
    title = "Too many tries"
    permanent = False

    def __init__(
        self, message: str, *, retry_after_s: int, quota: tuple[int, int] | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_s, self.quota = retry_after_s, quota


class TooManyWaiting(TooMany):
    """429: as many reports of a company wait as may."""

    title = "Too many reports wait"


class Unavailable(ReportError):
    """503: a part of this installation is away (Redis, database, no room for another stream)."""

    status = 503
    title = "Not available right now"
    permanent = False

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PartnerError(ReportError):
    """Base of all that the partner's API can do to us.

    `code` is the partner's six-digit errorCode or None; `call_id` its callId, quoted for support.
    `retry_after_s` is how long it asked to be left alone.
    `stops_run` says that no other site will fare better (wrong secret, unknown key).
    """

    status = 502
    title = "The partner's API did not answer as hoped"

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
