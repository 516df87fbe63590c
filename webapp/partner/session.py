"""A conversation with the partner: signed in, paced, tried again, bounded in time.

The one place that sends requests and translates what requests raises; everything else of this
room builds on `ask`. All of it may be used by many threads at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import requests
import urllib3

from webapp.errors import PartnerContract, PartnerRefused, RunEnded
from webapp.partner.credentials import Credentials, Scrubber
from webapp.partner.data_centers import DOMAINS, Addresses, known_data_center
from webapp.partner.envelope import call_id_of, judge
from webapp.partner.failures import Failure, transport_failure
from webapp.partner.flow import Flow
from webapp.partner.limits import Limits
from webapp.partner.notices import Notices
from webapp.partner.pace import Pace
from webapp.partner.refusals import FEW_TRIES, ONE_TRY
from webapp.partner.retry import Patience, backoff_s
from webapp.partner.sockets import Watch
from webapp.partner.wire import BodyBroken, BodyTooLong, Wire

SITE_LIST = "admin.getUserSites"


@dataclass(frozen=True)
class Answer:
    """A checked answer (errorCode 0), and the aware UTC moment its request was sent."""

    method: str
    body: dict[str, Any]
    asked_at: datetime
    call_id: str | None

    def unreadable(self, what: str) -> PartnerContract:
        """Return the error that says what in this answer is not as documented."""
        reference = f" (callId {self.call_id})" if self.call_id else ""
        return PartnerContract(
            f"The partner's answer to {self.method} cannot be used: {what}.{reference}",
            call_id=self.call_id,
        )


@dataclass
class _Errand:
    """One call on its way: where it goes now, how often and how long it has been tried."""

    method: str
    form: str
    data_center: str
    other: str
    pace: Pace
    server_timeout_s: float
    tries: int = 0
    spent_s: float = 0.0
    moved: bool = False

    @property
    def is_search(self) -> bool:
        return self.method.endswith(".search")


class PartnerSession:
    """What one run says to the partner; a context manager that forgets the secret at its end.

    notice:  told a sentence when calls are slowed down or tried again
    counted: called once for each HTTP request sent
    failed:  called with a failure's label for each that was not answered with errorCode 0
    stop:    called between tries and at least every half second of waiting; raises to end the work
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        search_pace: Pace,
        call_pace: Pace,
        url_template: str = "",
        home_data_center: str = "us1",
        concurrency: int = 8,
        notice: Callable[[str], None] = lambda _: None,
        counted: Callable[[], None] = lambda: None,
        failed: Callable[[str], None] = lambda _: None,
        stop: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
    ) -> None:
        home = known_data_center(home_data_center)
        if home is None:
            raise PartnerRefused(
                f"PARTNER_HOME_DATA_CENTER must be one of {', '.join(DOMAINS)}.", stops_run=True
            )
        self.home_data_center = home
        self.search_pace, self.call_pace = search_pace, call_pace
        self.limits = limits or Limits()
        self.notice = notice
        self._form = credentials.form()
        self._scrubber = Scrubber(credentials)
        self._addresses = Addresses(url_template)
        self._wire = Wire(max(1, concurrency))
        self._counted, self._failed, self._stop = counted, failed, stop
        self._patience = Patience(self.limits)
        self._notices = Notices(notice)
        self._flow = Flow(max(1, concurrency), notice)
        self._found_at: dict[str, str] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the secret; requests still in flight give up within half a second."""
        self._closed = True
        self._form = ""
        self._wire.close()

    def call(
        self, method: str, data_center: str, params: dict[str, str], *, pace: Pace
    ) -> dict[str, Any]:
        """Return the checked answer (errorCode 0) of one method; errors as `ask`."""
        return self.ask(method, data_center, params, pace=pace).body

    def ask(
        self,
        method: str,
        data_center: str,
        params: dict[str, str],
        *,
        pace: Pace,
        other_data_center: str = "",
    ) -> Answer:
        """Return the checked answer and when it was asked; tries again where that can help.

        `other_data_center` is asked once when the first does not know the site.
        Raises: PartnerUnavailable, PartnerRefused, PartnerContract; RunEnded untouched
        """
        key = params.get("apiKey", "")
        errand = _Errand(
            method=method,
            form=self._encoded(params),
            data_center=self._found_at.get(key) or data_center,
            other=other_data_center,
            pace=pace,
            server_timeout_s=self.limits.server_timeout_s,
        )
        self._patience.admit()
        while True:
            outcome = self._try(errand)
            if isinstance(outcome, Answer):
                if errand.moved:
                    self._found_at[key] = errand.data_center
                self._notices.answered(pace)
                return outcome
            self._failed(outcome.label)
            self._rest(self._wait_before_next(errand, outcome))

    def _encoded(self, params: dict[str, str]) -> str:
        try:
            return urlencode(params)
        except UnicodeEncodeError:
            raise PartnerRefused("A value holds characters that cannot be sent.") from None

    def _try(self, errand: _Errand) -> Answer | Failure:
        url = self._addresses.url(errand.method, errand.data_center)
        came = time.monotonic()
        errand.pace.wait(self._check)
        self._check()
        errand.tries += 1
        asked_at, started = datetime.now(UTC), time.monotonic()
        bounded = errand.is_search and self._flow.sent(started - came)
        try:
            outcome = self._sent(errand, url, asked_at)
        finally:
            took_s = time.monotonic() - started
            if errand.is_search:
                self._flow.ended(bounded, took_s, errand.pace)
        errand.spent_s += took_s
        if isinstance(outcome, Failure) and outcome.tries != ONE_TRY:
            self._patience.failed(started)
        else:
            self._patience.answered()
        return outcome

    def _sent(self, errand: _Errand, url: str, asked_at: datetime) -> Answer | Failure:
        limits = self.limits
        signed = self._form
        if not signed:  # closed just now: a call without credentials must never leave
            raise RunEnded("The conversation with the partner has ended.")
        form = f"{signed}&{errand.form}"
        allowed_s = limits.server_timeout_s + limits.margin_s
        if errand.is_search:
            form += f"&timeout={int(errand.server_timeout_s * 1000)}"
            allowed_s = errand.server_timeout_s + limits.margin_s
        watch = Watch(min(allowed_s, limits.total_s - errand.spent_s), limits.poll_s, self._check)
        self._counted()
        try:
            reply = self._wire.post(
                url, form, watch, limits.connect_s, limits.answer_bytes(errand.method)
            )
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            BodyTooLong,
            BodyBroken,
            OSError,
        ) as error:
            # Raised later and elsewhere: an exception of requests carries the body it sent.
            return transport_failure(error)
        judged = judge(
            reply,
            first_call=errand.method == SITE_LIST,
            scrubber=self._scrubber,
            retry_after_cap_s=limits.retry_after_cap_s,
        )
        if isinstance(judged, Failure):
            return judged
        return Answer(errand.method, judged, asked_at, call_id_of(judged, self._scrubber))

    def _wait_before_next(self, errand: _Errand, failure: Failure) -> float:
        """Return how long to wait before the next try (seconds), or raise when there is none."""
        if failure.elsewhere and not errand.moved:
            target = failure.data_center or known_data_center(errand.other)
            if target and target != known_data_center(errand.data_center):
                errand.moved, errand.data_center = True, target
                return 0.0
        if failure.slows:
            errand.pace.slow_down(failure.retry_after_s)
            self._notices.slowed(errand.pace)
        if failure.longer and errand.is_search:
            longest = 3 * self.limits.server_timeout_s
            errand.server_timeout_s = min(
                errand.server_timeout_s + self.limits.server_timeout_s, longest
            )
        wait_s = max(backoff_s(errand.tries, self.limits), failure.retry_after_s or 0.0)
        tries = self._tries(failure)
        given_up = errand.tries >= tries or errand.spent_s + wait_s >= self.limits.total_s
        if given_up or self._patience.over:
            raise failure.error(errand.tries)
        errand.spent_s += wait_s
        self._notices.again(failure.sentence, wait_s, errand.tries + 1, tries)
        return wait_s

    def _tries(self, failure: Failure) -> int:
        if failure.tries == FEW_TRIES:
            return min(self.limits.few_tries, self.limits.tries)
        return min(failure.tries, self.limits.tries)

    def _rest(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        self._check()
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, self.limits.poll_s))
            self._check()

    def _check(self) -> None:
        if self._closed:
            raise RunEnded("The conversation with the partner has ended.")
        self._stop()
