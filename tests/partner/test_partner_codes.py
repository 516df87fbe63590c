"""Every code of the partner's table: what is done about it, and what the reader is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from bad_server import Asked, BadServer, Move, answer, envelope, http, raw, refusal
from partner_helpers import Talk

from webapp.errors import PartnerContract, PartnerError, PartnerRefused, PartnerUnavailable
from webapp.partner.error_codes import RULES
from webapp.partner.pace import LocalRateLimiter
from webapp.partner.searches import count_accounts
from webapp.partner.sites import Site, list_sites, site_config

ALL, FEW, ONE = 6, 3, 1
AGAIN = dict.fromkeys(
    [100001, 403048, 409030, 500000, 500026, 500028, 500033, 500034, 503001, 504001, 504002], ALL
) | dict.fromkeys([500001, 500999, 599999], FEW)
STOPS = [403003, 403006, 403010, 403025, 403120, 405001]
STOPS_FIRST = [400001, 400002, 400004, 400006, 403000, 403005, 403007]
SITE_ONLY = [
    301001, 400009, 400020, 400023, 400027, 400093, 400096, 403002, 403011, 403012, 403023,
    403026, 403036, 403045, 404000, 404004, 413001, 400777, 499999,
]  # fmt: skip
STRANGE = [200001, 206001, 206006, 1, -1, 700000, 10**12]
GOOD = answer({"results": [{"count(*)": 7}], "totalCount": 7})
HOME = Site("1", "4_a", "home", "us1")


def failed(talk: Talk, move: Move) -> PartnerError:
    talk.server.plays(move)
    with pytest.raises(PartnerError) as caught:
        talk.session().ask(count_accounts(HOME))
    return caught.value


@pytest.mark.parametrize(("code", "tries"), AGAIN.items())
def test_codes_that_pass_are_tried_again(talk: Talk, code: int, tries: int) -> None:
    error = failed(talk, refusal(code))
    assert isinstance(error, PartnerUnavailable)
    assert (error.code, error.permanent, error.stops_run) == (code, False, False)
    assert talk.sent == tries


@pytest.mark.parametrize("code", sorted(AGAIN))
def test_a_good_answer_after_such_a_code_is_taken(talk: Talk, code: int) -> None:
    talk.server.plays(refusal(code), refusal(code), GOOD)
    assert talk.session().ask(count_accounts(HOME)).value == 7


@pytest.mark.parametrize("code", STOPS)
def test_codes_that_no_other_site_will_escape_stop_the_run(talk: Talk, code: int) -> None:
    error = failed(talk, refusal(code))
    assert isinstance(error, PartnerRefused)
    assert error.stops_run
    assert talk.sent == 1


@pytest.mark.parametrize("code", [*STOPS_FIRST, *SITE_ONLY])
def test_codes_of_one_site_leave_the_others_alone(talk: Talk, code: int) -> None:
    error = failed(talk, refusal(code))
    assert isinstance(error, PartnerRefused)
    assert (error.code, error.stops_run, error.permanent) == (code, False, True)
    assert talk.sent == 1


def test_a_nonce_used_twice_is_tried_once_more(talk: Talk) -> None:
    failed(talk, refusal(403004))
    assert talk.sent == 2


@pytest.mark.parametrize("code", STOPS_FIRST + STOPS)
def test_the_first_call_tests_the_credentials(talk: Talk, code: int) -> None:
    talk.server.plays(refusal(code))
    with pytest.raises(PartnerRefused) as caught:
        list_sites(talk.session(), "70000001")
    assert caught.value.stops_run
    assert talk.sent == 1


@pytest.mark.parametrize("code", STRANGE)
def test_codes_that_cannot_come_are_a_broken_contract(talk: Talk, code: int) -> None:
    assert isinstance(failed(talk, refusal(code)), PartnerContract)
    assert talk.sent == 1


def test_every_sentence_says_something_and_every_code_was_tried() -> None:
    tried = {*AGAIN, *STOPS, *STOPS_FIRST, *SITE_ONLY, 403004, *range(400020, 400028)}
    assert set(RULES) <= tried
    assert all(rule.sentence.endswith(".") and len(rule.sentence) > 40 for rule in RULES.values())


def test_a_rate_limit_for_ever_slows_the_pace_and_ends(talk: Talk) -> None:
    pace = LocalRateLimiter(1000)
    talk.server.plays(refusal(403048))
    with pytest.raises(PartnerUnavailable, match="too often"):
        talk.session(search_pace=pace).ask(count_accounts(HOME))
    assert talk.sent == 6
    assert pace.rate == 500
    assert any("slowing down" in sentence for sentence in talk.notices)


@pytest.mark.parametrize("status", [429, 200])
def test_any_429_slows_the_pace_too(talk: Talk, status: int) -> None:
    pace = LocalRateLimiter(1000)
    code = 403048 if status == 200 else 500001
    talk.server.plays(refusal(code, status=status), GOOD)
    talk.session(search_pace=pace).ask(count_accounts(HOME))
    assert pace.throttled


def test_recovery_is_told_once(talk: Talk) -> None:
    pace = LocalRateLimiter(1000, slow_s=0.02)
    talk.server.plays(refusal(403048), refusal(403048), GOOD)
    session = talk.session(search_pace=pace, limits={"backoff_base_s": 0.05, "backoff_cap_s": 0.05})
    for _ in range(30):
        session.ask(count_accounts(HOME))
    assert talk.notices.count("Back to the full pace.") == 1


def test_a_search_that_times_out_is_given_more_time_step_by_step(talk: Talk) -> None:
    failed(talk, refusal(504001))
    assert [asked.form["timeout"] for asked in talk.server.asked] == [
        "200", "400", "600", "600", "600", "600",
    ]  # fmt: skip


# -- the right data centre -----------------------------------------------------------------------


def served_at(data_center: str, wrong: Move) -> object:
    def script(asked: Asked) -> Move:
        if asked.data_center != data_center:
            return wrong
        return answer({"dataCenter": data_center, "results": [{"count(*)": 7}]})

    return script


def places(server: BadServer) -> list[str]:
    return [asked.data_center for asked in server.asked]


def test_a_moved_site_is_followed_once_and_remembered(talk: Talk, site: Site) -> None:
    talk.server.script = served_at("au1", refusal(301001, apiDomain="au1.gigya.com"))  # type: ignore[assignment]
    session = talk.session()
    assert session.ask(count_accounts(site)).value == 7
    assert session.ask(count_accounts(site)).value == 7
    assert places(talk.server) == ["eu1", "au1", "au1"]


@pytest.mark.parametrize(
    "domain",
    ["evil.example", "eu1.gigya.com.evil.example", "https://au1.gigya.com", "", None, 5, ["au1"]],
)
def test_a_hostile_domain_is_never_asked(talk: Talk, domain: object) -> None:
    error = failed(talk, refusal(301001, apiDomain=domain, location="http://evil.example/"))
    assert isinstance(error, PartnerRefused)
    assert places(talk.server) == ["us1"]


def test_a_site_sent_in_circles_is_given_up(talk: Talk, site: Site) -> None:
    def script(asked: Asked) -> Move:
        there = "au1" if asked.data_center == "eu1" else "eu1"
        return refusal(301001, apiDomain=f"{there}.gigya.com")

    talk.server.script = script
    with pytest.raises(PartnerRefused):
        talk.session().ask(count_accounts(site))
    assert places(talk.server) == ["eu1", "au1"]


@pytest.mark.parametrize("code", [301001, 400093, 500028])
def test_the_home_data_centre_is_the_other_candidate(talk: Talk, site: Site, code: int) -> None:
    talk.server.script = served_at("us1", refusal(code))  # type: ignore[assignment]
    assert talk.session().ask(site_config(site)).data_center == "us1"
    assert places(talk.server) == ["eu1", "us1"]


def test_an_unknown_key_is_an_error_of_its_site_after_both_candidates(
    talk: Talk, site: Site
) -> None:
    talk.server.plays(refusal(400093, "GSKeyBase is invalid, no version"))
    with pytest.raises(PartnerRefused, match="GSKeyBase") as caught:
        talk.session().ask(site_config(site))
    assert not caught.value.stops_run
    assert places(talk.server) == ["eu1", "us1"]


@pytest.mark.parametrize("name", ["", "xx9", "evil.example/", "us1.evil.example", "../us1", "eu1#"])
def test_a_hostile_data_centre_is_an_error_without_a_request(talk: Talk, name: str) -> None:
    with pytest.raises(PartnerRefused) as caught:
        talk.session().ask(count_accounts(Site("1", "4_a", "x", name)))
    assert not caught.value.stops_run
    assert talk.sent == 0


def test_the_configuration_of_such_a_site_is_asked_at_home(talk: Talk) -> None:
    talk.server.plays(answer({"dataCenter": "EU1"}))
    site = Site("1", "4_a", "x", "evil.example")
    config = talk.session().ask(site_config(site))
    assert places(talk.server) == ["us1"]
    assert site.located_by(config).data_center == "eu1"


def test_a_data_centre_that_is_said_to_be_invalid_is_left_for_home_once(
    talk: Talk, site: Site
) -> None:
    talk.server.plays(refusal(500001, "Datacenter is invalid"), GOOD)
    assert talk.session().ask(count_accounts(site)).value == 7
    assert places(talk.server) == ["eu1", "us1"]


def test_a_clock_that_is_off_is_named_with_by_how_much(talk: Talk) -> None:
    ahead = format_datetime(datetime.now(UTC) + timedelta(hours=3), usegmt=True)
    body = envelope({"errorCode": 403002, "errorMessage": "Request has expired"})
    talk.server.plays(raw(http(body, Date=ahead)))
    with pytest.raises(PartnerRefused, match=r"3 h behind the partner's"):
        talk.session().ask(count_accounts(HOME))
