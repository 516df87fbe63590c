"""The canary secret and the user key turn up in no log, no error, no repr and no URL."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from bad_server import Asked, BadServer, answer, http, raw, refusal, reset
from partner_helpers import SECRET, USER_KEY, Talk

from webapp.errors import PartnerError, PartnerRefused
from webapp.partner.credentials import Credentials, Scrubber
from webapp.partner.pace import LocalRateLimiter
from webapp.partner.searches import count_accounts
from webapp.partner.session import PartnerSession
from webapp.partner.sites import Site, list_sites

TRACES = {SECRET, USER_KEY, quote(SECRET), quote_plus(SECRET), quote(USER_KEY, safe="")}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def assert_clean(error: BaseException) -> None:
    for link in chain(error):
        request = getattr(link, "request", None)
        told = [str(link), repr(link), repr(link.args), repr(getattr(request, "body", ""))]
        told += traceback.format_exception(link)
        for trace in TRACES:
            assert not any(trace in text for text in told), f"{trace} in {type(link)}"


def echo(asked: Asked) -> Any:
    return refusal(403010, f"bad secret {asked.form['secret']} of {asked.form['userKey']}")


FAULTS = {
    "echoed": None,
    "echoed escaped": refusal(403007, f"not {quote_plus(SECRET)} nor {quote(SECRET)}"),
    "echoed as html": refusal(403007, SECRET.replace("&", "&amp;").replace("<", "&lt;")),
    "echoed broken": refusal(403007, SECRET[:6] + "\x00" + SECRET[6:]),
    "echoed at the cut": refusal(403007, "x" * 290 + SECRET),
    "as call id": refusal(403007, callId=USER_KEY),
    "reset": reset,
    "not http": raw(b"nonsense " + SECRET.encode() + b"\r\n\r\n", close=True),
    "a page": raw(http(f"<p>{SECRET}".encode())),
    "a redirect": raw(http(b"", 302, Location="http://x/?secret=" + quote(SECRET))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_and_no_log_holds_the_secret(
    talk: Talk, site: Site, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    move = FAULTS[fault]
    if move is None:
        talk.server.script = echo
    else:
        talk.server.plays(move)
    with pytest.raises(PartnerError) as caught:
        talk.session().ask(count_accounts(site))
    assert_clean(caught.value)
    assert SECRET[6:] not in str(caught.value)
    for trace in TRACES:
        assert trace not in caplog.text
        assert not any(trace in sentence for sentence in talk.notices)
        assert not any(trace in asked.line for asked in talk.server.asked)
    assert talk.server.asked[0].form["secret"] == SECRET


def test_errors_carry_no_exception_that_carries_the_body(talk: Talk, site: Site) -> None:
    talk.server.plays(reset)
    with pytest.raises(PartnerError) as caught:
        talk.session().ask(count_accounts(site))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_credentials_and_session_show_nothing(session: PartnerSession) -> None:
    for thing in (Credentials(USER_KEY, SECRET), session, Scrubber(Credentials(USER_KEY, SECRET))):
        assert not any(trace in f"{thing!r} {thing}" for trace in TRACES)


def test_a_closed_session_has_forgotten_the_secret(session: PartnerSession) -> None:
    session.close()
    assert SECRET not in str(vars(session))
    assert quote_plus(SECRET) not in str(vars(session))


@pytest.mark.parametrize("secret", ["", "  ", "lone \ud800 surrogate"])
def test_a_secret_that_cannot_be_sent_is_refused_at_once(server: BadServer, secret: str) -> None:
    with pytest.raises(PartnerRefused, match="type them again") as caught:
        PartnerSession(
            Credentials(USER_KEY, secret),
            search_pace=LocalRateLimiter(0),
            call_pace=LocalRateLimiter(0),
        )
    assert caught.value.stops_run
    assert caught.value.__context__ is None


def test_a_value_that_cannot_be_sent_is_refused(talk: Talk) -> None:
    with pytest.raises(PartnerRefused, match="cannot be sent"):
        list_sites(talk.session(), "70\udcff")
    assert talk.sent == 0


def test_a_secret_with_awkward_characters_arrives_whole(talk: Talk, site: Site) -> None:
    talk.server.plays(answer({"results": [{"count(*)": 0}]}))
    talk.session().ask(count_accounts(site))
    assert talk.server.asked[0].form["secret"] == SECRET
    assert talk.server.asked[0].form["userKey"] == USER_KEY
