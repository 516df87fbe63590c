"""A conversation with the partner: signed in, paced, tried again, bounded in time.

A `PartnerQuestion` says what is asked and how its answer is read. `ask` puts one and waits for the
end of it; `attempt` makes one try, so that `side_by_side` can ask others while this one has to
wait. The one place that sends requests and translates what requests raises. All of it may be used
by many threads at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlencode

import requests
import urllib3

from webapp.errors import PartnerContract, PartnerRefused, RunEnded
from webapp.partner.credentials import DOMAINS, Addresses, Credentials, Scrubber, known_data_center
from webapp.partner.error_codes import FEW_TRIES, ONE_TRY
from webapp.partner.failures import Failure, call_id_of, parse_response, transport_failure
from webapp.partner.limits import CircuitBreaker, Limits
from webapp.partner.pace import RateLimiter, SearchCosts
from webapp.partner.transport import BodyBroken, BodyTooLong, Deadline, Transport

QUIET_S = 5.0
T = TypeVar("T")


@dataclass(frozen=True)
class PartnerAnswer:
    """A checked answer (errorCode 0), and when it was asked (aware UTC)."""

    method: str
    body: dict[str, Any]
    asked_at: datetime
    call_id: str | None
    session: PartnerSession

    def unreadable(self, what: str) -> PartnerContract:
        """Return the error that says what in this answer is not as documented."""
        reference = f" (callId {self.call_id})" if self.call_id else ""
        return PartnerContract(
            f"The partner's answer to {self.method} cannot be used: {what}.{reference}",
            call_id=self.call_id,
        )


@dataclass(frozen=True)
class PartnerQuestion(Generic[T]):
    """One call to a method and how its answer is read; `read` raises PartnerContract.

    data_center: where it is asked; None is the home data centre
    or_home:     whether the home data centre is asked once when the first does not know it
    """

    method: str
    data_center: str | None
    params: Mapping[str, str]
    read: Callable[[PartnerAnswer], T]
    or_home: bool = False

    @property
    def is_search(self) -> bool:
        return self.method.endswith(".search")


@dataclass
class Call(Generic[T]):
    """A question on its way: where it goes now, how often and how long it has been tried."""

    question: PartnerQuestion[T]
    data_center: str
    server_timeout_s: float
    tries: int = 0
    throttled: int = 0
    spent_s: float = 0.0
    moved: bool = False


@dataclass(frozen=True)
class Again:
    """A try failed and another one may help, after a wait (seconds).

    is_trouble: it speaks against the site; that the partner wants fewer calls, or names another
                data centre, does not
    """

    wait_s: float
    is_trouble: bool


class PartnerSession:
    """What one run says to the partner; a context manager that forgets the secret at its end.

    notice:  told a sentence when calls are slowed down or tried again, not too often
    counted: called once for each HTTP request sent
    failed:  called with a failure's label for each that was not answered with errorCode 0
    busy:    called with how long each search was under way (milliseconds)
    stop:    called between tries and at least every half second of waiting; raises to end the work
    reached_by: proxy, ca_file, user_agent as Transport takes them
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        search_pace: RateLimiter,
        call_pace: RateLimiter,
        url_template: str = "",
        home_data_center: str = "us1",
        concurrency: int = 8,
        notice: Callable[[str], None] = lambda _: None,
        counted: Callable[[], None] = lambda: None,
        failed: Callable[[str], None] = lambda _: None,
        busy: Callable[[int], None] = lambda _: None,
        stop: Callable[[], None] = lambda: None,
        limits: Limits | None = None,
        **reached_by: str,
    ) -> None:
        home = known_data_center(home_data_center)
        if home is None:
            raise PartnerRefused(
                f"PARTNER_HOME_DATA_CENTER must be one of {', '.join(DOMAINS)}.", stops_run=True
            )
        self.home_data_center = home
        self.search_pace, self.call_pace = search_pace, call_pace
        self.limits = limits or Limits()
        self.concurrency = max(1, concurrency)
        self.notice = notice
        self.breaker = CircuitBreaker(self.limits)
        self.costs = SearchCosts(search_pace, self.concurrency)
        self._form = credentials.form()
        self._scrubber = Scrubber(credentials)
        self._addresses = Addresses(url_template)
        self._transport = Transport(self.concurrency, **reached_by)
        self._counted, self._failed, self._busy, self._stop = counted, failed, busy, stop
        self._lock = threading.Lock()
        self._found_at: dict[str, str] = {}
        self._told_at: dict[str, float] = {}
        self._told_slow: set[RateLimiter] = set()
        self._closed = False
        # False once totalCount contradicted a count: it says nothing then.
        self.trusts_totals = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the secret; requests still in flight give up within half a second."""
        self._closed = True
        self._form = ""
        self._transport.close()

    def ask(self, question: PartnerQuestion[T]) -> T:
        """Return what an answer says; tries again where that can help.

        Raises: PartnerUnavailable, PartnerRefused, PartnerContract; RunEnded untouched
        """
        call = self.call(question)
        while isinstance(outcome := self.attempt(call), Again):
            ends = time.monotonic() + outcome.wait_s
            while (left := ends - time.monotonic()) > 0:
                self.check()
                time.sleep(min(left, self.limits.poll_s))
        return outcome

    def call(self, question: PartnerQuestion[T]) -> Call[T]:
        """Return a question at the start of its way."""
        limits, site = self.limits, question.params.get("apiKey", "")
        listed = question.data_center
        data_center = self._found_at.get(site) or (
            self.home_data_center if listed is None else listed
        )
        one_try_left_s = limits.total_s - limits.server_timeout_s - limits.margin_s
        spent_s = max(0.0, min(self.breaker.in_vain_s(site), one_try_left_s))
        return Call(question, data_center, limits.server_timeout_s, spent_s=spent_s)

    def attempt(self, call: Call[T]) -> T | Again:
        """Try once and return what the answer says, or when to try again; errors as `ask`."""
        self.breaker.admit(call.data_center)
        url = self._addresses.url(call.question.method, call.data_center)
        pace = self.search_pace if call.question.is_search else self.call_pace
        pace.acquire(self.check)
        self.check()
        started = time.monotonic()
        outcome = self._send(call, url)
        call.tries += 1
        took_s = time.monotonic() - started
        call.spent_s += took_s
        if call.question.is_search:
            self._busy(int(took_s * 1000))
            if isinstance(outcome, PartnerAnswer):
                rows = outcome.body.get("results")
                self.costs.note(took_s, len(rows) if isinstance(rows, list) else 0)
        answered = isinstance(outcome, PartnerAnswer) or outcome.tries == ONE_TRY
        site = call.question.params.get("apiKey", "")
        self.breaker.note(call.data_center, site, answered=answered, started=started)
        if isinstance(outcome, Failure):
            self._failed(outcome.label)
            return self._again(call, outcome, pace)
        if call.moved:
            self._found_at[site] = call.data_center
        if pace in self._told_slow and not pace.throttled:
            self._told_slow.discard(pace)
            self.notice("Back to the full pace.")
        return call.question.read(outcome)

    def check(self) -> None:
        """Raise RunEnded when this conversation, or the run it belongs to, is over."""
        if self._closed:
            raise RunEnded("The conversation with the partner has ended.")
        self._stop()

    def data_center_of(self, site: str, listed: str) -> str:
        """Return where a site was really asked, by its API key."""
        return self._found_at.get(site, listed)

    def _send(self, call: Call[Any], url: str) -> PartnerAnswer | Failure:
        limits, question = self.limits, call.question
        try:
            form = urlencode(question.params)
        except UnicodeEncodeError:
            raise PartnerRefused("A value contains characters that cannot be sent.") from None
        signed = self._form
        if not signed:  # closed just now: a call without credentials must never leave
            raise RunEnded("The conversation with the partner has ended.")
        form = f"{signed}&{form}"
        if question.is_search:
            form += f"&timeout={int(call.server_timeout_s * 1000)}"
        allowed_s = min(call.server_timeout_s + limits.margin_s, limits.total_s - call.spent_s)
        deadline = Deadline(allowed_s, limits.poll_s, self.check)
        self._counted()
        asked_at = datetime.now(UTC)
        try:
            response = self._transport.post(
                url, form, deadline, limits.connect_s, limits.answer_bytes(question.method)
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
        parsed = parse_response(
            response,
            method=question.method,
            scrubber=self._scrubber,
            retry_after_cap_s=limits.retry_after_cap_s,
            warn=self.warn_once,
        )
        if isinstance(parsed, Failure):
            return parsed
        call_id = call_id_of(parsed, self._scrubber)
        return PartnerAnswer(question.method, parsed, asked_at, call_id, self)

    def _again(self, call: Call[Any], failure: Failure, pace: RateLimiter) -> Again:
        """Return when the next try is made, or raise the failure when there is none."""
        if failure.retry_elsewhere and not call.moved:
            target = failure.data_center or (self.home_data_center if call.question.or_home else "")
            if target and target != known_data_center(call.data_center):
                call.moved, call.data_center = True, target
                return Again(0.0, is_trouble=False)
        if failure.throttles:
            return self._throttled(call, failure, pace)
        if failure.extend_timeout and call.question.is_search:
            one_s = self.limits.server_timeout_s
            call.server_timeout_s = min(call.server_timeout_s + one_s, 3 * one_s)
        wait_s = max(self.limits.backoff_s(call.tries), failure.retry_after_s or 0.0)
        few = failure.tries == FEW_TRIES
        tries = min(self.limits.few_tries if few else failure.tries, self.limits.tries)
        given_up = call.tries >= tries or call.spent_s + wait_s >= self.limits.total_s
        if given_up or self.breaker.is_silent(call.data_center):
            raise failure.error(call.tries)
        call.spent_s += wait_s
        self._tell(
            f"again:{failure.sentence}",
            f"{failure.sentence} Trying again in {wait_s:.0f} s (try {call.tries + 1} of {tries}).",
        )
        return Again(wait_s, is_trouble=True)

    def _throttled(self, call: Call[Any], failure: Failure, pace: RateLimiter) -> Again:
        """Slow down and ask again at once: the pace makes it wait, and no try is counted."""
        pace.throttle(failure.retry_after_s)
        self._told_slow.add(pace)
        rate = f" ({pace.rate:.3g} a second)" if pace.rate else ""
        self._tell("slow", f"The partner asks for fewer calls: slowing down for a while{rate}.")
        call.tries -= 1
        call.throttled += 1
        if call.throttled >= self.limits.throttled_tries or self.breaker.is_silent(
            call.data_center
        ):
            raise failure.error(call.throttled)
        return Again(0.0, is_trouble=False)

    def warn_once(self, sentence: str) -> None:
        """Tell the reader something once in this conversation."""
        self._tell(sentence, sentence, quiet_s=math.inf)

    def _tell(self, matter: str, sentence: str, quiet_s: float = QUIET_S) -> None:
        """Tell the reader something, the same matter at most once in some seconds."""
        now = time.monotonic()
        with self._lock:
            if now - self._told_at.get(matter, -math.inf) < quiet_s:
                return
            self._told_at[matter] = now
        self.notice(sentence)
