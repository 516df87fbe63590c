"""What counts as an answer, and how long an unreadable one is asked for again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from bad_server import CALL_ID, BadServer, answer, envelope, http, raw, refusal
from partner_helpers import SECRET, USER_KEY, Talk, body_of

from tests.soon import SOON_S, soon, until
from webapp.errors import (
    PartnerContract,
    PartnerError,
    PartnerRefused,
    PartnerUnavailable,
    RunEnded,
)
from webapp.partner.limits import Limits, retry_after_s
from webapp.partner.session import PartnerSession

Ask = Callable[[], dict[str, Any]]


def test_a_call_is_a_form_that_signs_in_and_asks_for_json(server: BadServer, ask: Ask) -> None:
    ask()
    (asked,) = server.asked
    assert asked.line == "POST /accounts.eu1/accounts.search HTTP/1.1"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.headers["accept-encoding"] == "gzip"
    assert asked.form == {
        "userKey": USER_KEY,
        "secret": SECRET,
        "format": "json",
        "httpStatusCodes": "false",
        "apiKey": "4_a",
        "query": "q",
        "timeout": "200",
    }


UNREADABLE = {
    "a web page": b"<!doctype html><title>Sign in to the proxy</title>",
    "empty": b"",
    "spaces": b" \r\n",
    "null": b"null",
    "a list": b'[{"errorCode": 0}]',
    "a text": b'"ok"',
    "a number": b"0",
    "cut short": envelope({"a": 1})[:-3],
    "no errorCode": b'{"results": [{"count(*)": 5}]}',
    "errorCode null": b'{"errorCode": null}',
    "errorCode as text": b'{"errorCode": "0"}',
    "errorCode false": b'{"errorCode": false}',
    "errorCode as float": b'{"errorCode": 0.0}',
    "not utf-8": b'{"errorCode": 0, "x": "\xff\xfe\xff"}',
    "deep": b"[" * 100_000,
    "errorCode twice": b'{"errorCode": 403048, "x": 1, "errorCode": 0}',
    "a result twice": b'{"errorCode": 0, "results": [], "results": [{"count(*)": 5}]}',
    "a number of 5000 digits": b'{"errorCode": 0, "x": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_answer_is_asked_for_again_and_never_believed(
    server: BadServer, talk: Talk, ask: Ask, body: bytes
) -> None:
    server.plays(raw(http(body)))
    with pytest.raises(PartnerContract, match="cannot be read"):
        ask()
    assert talk.sent == 6
    server.plays(answer({"fine": 1}))
    assert ask()["fine"] == 1


@pytest.mark.parametrize("status", [200, 201, 400, 403, 500, 503])
def test_an_error_code_decides_whatever_the_http_status(
    server: BadServer, talk: Talk, ask: Ask, status: int
) -> None:
    server.plays(answer({"fine": 1}))
    assert ask()["fine"] == 1
    server.plays(refusal(403036, status=status))
    with pytest.raises(PartnerRefused, match="account store"):
        ask()
    assert talk.sent == 2


@pytest.mark.parametrize(
    "kind", ["application/json", "text/html", "text/plain; charset=latin-1", "image/png", ""]
)
def test_json_is_read_under_any_content_type(server: BadServer, ask: Ask, kind: str) -> None:
    server.plays(raw(http(envelope({"n": "länder"}), Content_Type=kind)))
    assert ask()["n"] == "länder"


def test_a_byte_order_mark_does_not_matter(server: BadServer, ask: Ask) -> None:
    server.plays(raw(http(b"\xef\xbb\xbf" + envelope({"fine": 1}))))
    assert ask()["fine"] == 1


@pytest.mark.parametrize(
    ("status", "tries", "error"),
    [
        (500, 6, PartnerUnavailable),
        (502, 6, PartnerUnavailable),
        (503, 6, PartnerUnavailable),
        (504, 6, PartnerUnavailable),
        (429, 6, PartnerUnavailable),
        (407, 3, PartnerContract),
        (404, 3, PartnerContract),
        (403, 3, PartnerContract),
    ],
)
def test_http_errors_without_json_are_tried_again(
    server: BadServer, talk: Talk, ask: Ask, status: int, tries: int, error: type[Exception]
) -> None:
    server.plays(raw(http(b"<html>no</html>", status)))
    with pytest.raises(error, match=f"HTTP {status}"):
        ask()
    assert talk.sent == tries


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_no_error_is_no_success_where_http_says_otherwise(
    server: BadServer, ask: Ask, status: int
) -> None:
    server.plays(answer({"fine": 1}, status))
    with pytest.raises(PartnerError, match=f"HTTP {status}"):
        ask()


# -- Retry-After ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_a_gateway_asks_for_is_kept(talk: Talk, status: int) -> None:
    session = talk.session(limits={"retry_after_cap_s": 0.2})
    talk.server.plays(raw(http(b"later", status, Retry_After="86400")), answer({"fine": 1}))
    started = time.monotonic()
    body_of(session, "accounts.search", "eu1", {})
    assert 0.2 <= time.monotonic() - started < SOON_S  # a day was asked for


def test_retry_after_is_read_in_all_its_forms() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=50)
    assert retry_after_s("7", 120) == 7
    assert retry_after_s(" 0 ", 120) == 0
    assert retry_after_s("999999999999", 120) == 120
    assert retry_after_s(format_datetime(soon, usegmt=True), 120) == pytest.approx(50, abs=2)
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT", 120) == 0
    assert retry_after_s("Wednesday, 21-Oct-15 07:28:00 GMT", 120) in {0, None}
    assert retry_after_s("9" * 9999, 120) == 120
    for nonsense in (None, "", "soon", "-5", "1.5.2", "٣", "Wed, 99 Xxx 2015 07:28:00 GMT"):
        assert retry_after_s(nonsense, 120) is None


def test_backoff_doubles_to_its_ceiling_and_is_spread() -> None:
    limits = Limits()
    for tries, ceiling in ((1, 1), (2, 2), (5, 16), (6, 30), (500, 30)):
        waits = [limits.backoff_s(tries) for _ in range(200)]
        assert max(waits) <= ceiling
        assert max(waits) > ceiling * 0.8
        assert min(waits) < ceiling * 0.2


# -- bounds --------------------------------------------------------------------------------------


def test_one_call_never_takes_longer_than_its_total(talk: Talk) -> None:
    talk.server.plays(talk.server.hang)
    session = talk.session(limits={"total_s": 1.2})
    with soon(), pytest.raises(PartnerUnavailable):
        body_of(session, "admin.getSiteConfig", "eu1", {})


def test_a_wait_that_does_not_fit_is_not_begun(talk: Talk) -> None:
    session = talk.session(limits={"total_s": 40, "retry_after_cap_s": 120})
    talk.server.plays(raw(http(b"", 503, Retry_After="60")))
    with soon(), pytest.raises(PartnerUnavailable) as caught:
        body_of(session, "accounts.search", "eu1", {})
    assert caught.value.retry_after_s == 60
    assert talk.sent == 1


def test_a_run_stops_waiting_for_a_partner_that_answers_nothing(talk: Talk) -> None:
    session = talk.session(limits={"silence_s": 0.05, "probe_s": 2.0})

    def told() -> str:
        try:
            body_of(session, "accounts.search", "eu1", {})
        except PartnerUnavailable as error:
            return error.message
        return ""

    talk.server.plays(raw(http(b"", 503)))
    assert until(lambda: "was not requested" in told())
    sent = talk.sent
    refused = ["was not requested" in told() for _ in range(50)]
    assert refused.count(True) >= 25  # a probe at times, where the machine stood still
    assert talk.sent - sent == refused.count(False)
    talk.server.plays(answer({}))
    assert until(lambda: not told())
    assert [told() for _ in range(3)] == [""] * 3


def test_stop_is_heard_between_tries(talk: Talk) -> None:
    talk.server.plays(raw(http(b"", 503)))

    def stop() -> None:
        if talk.sent >= 2:
            raise RunEnded("cancelled")

    session = talk.session(stop=stop)
    with pytest.raises(RunEnded):
        body_of(session, "accounts.search", "eu1", {})
    assert talk.sent == 2


def test_a_closed_session_sends_nothing(talk: Talk, session: PartnerSession) -> None:
    session.close()
    with pytest.raises(RunEnded):
        body_of(session, "accounts.search", "eu1", {})
    assert talk.sent == 0


def test_trying_again_is_told_once_not_a_hundred_times(talk: Talk, session: PartnerSession) -> None:
    talk.server.plays(raw(http(b"", 503)))
    for _ in range(10):
        with pytest.raises(PartnerUnavailable):
            body_of(session, "accounts.search", "eu1", {})
    assert len(talk.notices) == 1
    assert "Trying again" in talk.notices[0]


def test_the_error_quotes_the_call_and_how_often_it_was_tried(server: BadServer, ask: Ask) -> None:
    server.plays(refusal(500033, "Backend &lt;b&gt;error&lt;/b&gt;\r\n\x00\u202e" + "x" * 900))
    with pytest.raises(PartnerUnavailable) as caught:
        ask()
    message = caught.value.message
    assert caught.value.code == 500033
    assert caught.value.call_id == CALL_ID
    assert CALL_ID in message
    assert "error 500033" in message
    assert "Asked 6 times" in message
    assert "Backend <b>error</b>" in message
    assert message.isprintable()
    assert len(message) < 600


@pytest.mark.parametrize("call_id", [None, 5, "", "a b", "x" * 65, ["a"], "é"])
def test_a_strange_call_id_is_left_out(server: BadServer, ask: Ask, call_id: Any) -> None:
    server.plays(raw(http(json.dumps({"errorCode": 403036, "callId": call_id}).encode())))
    with pytest.raises(PartnerRefused) as caught:
        ask()
    assert caught.value.call_id is None
