"""The secret goes to known hosts only."""

from __future__ import annotations

import pytest

from webapp.errors import PartnerRefused
from webapp.partner.credentials import DOMAINS, Addresses, Credentials, known_data_center
from webapp.partner.pace import LocalRateLimiter
from webapp.partner.session import PartnerSession


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("us1", "us1.gigya.com"),
        ("eu1", "eu1.gigya.com"),
        ("EU2", "eu2.gigya.com"),
        ("Au1", "au1.gigya.com"),
        ("cn1", "cn1.sapcdm.cn"),
        ("global", "global.gigya.com"),
        ("ru1", "ru1.gigya.com"),
        ("il1", "il1.gigya.com"),
        ("xx1", None),
        ("", None),
        ("eu1.gigya.com", None),
    ],
)
def test_data_centres_are_looked_up_in_a_fixed_table(name: str, domain: str | None) -> None:
    assert DOMAINS.get(known_data_center(name) or "") == domain


def test_real_addresses_are_encrypted_and_name_the_method() -> None:
    addresses = Addresses()
    assert addresses.url("admin.getUserSites", "US1") == (
        "https://admin.us1.gigya.com/admin.getUserSites"
    )
    assert addresses.url("accounts.search", "cn1") == (
        "https://accounts.cn1.sapcdm.cn/accounts.search"
    )


def test_a_stand_in_is_addressed_by_its_template() -> None:
    addresses = Addresses("http://127.0.0.1:9700/{namespace}.{data_center}/")
    assert addresses.url("accounts.search", "eu1") == (
        "http://127.0.0.1:9700/accounts.eu1/accounts.search"
    )


@pytest.mark.parametrize(
    "template",
    [
        "http://localhost:9700/{namespace}.{data_center}",
        "http://[::1]:9700/{namespace}",
        "https://stand-in.example/{namespace}.{data_center}",
        "https://{namespace}.{data_center}.stand-in.example",
    ],
)
def test_templates_that_are_safe_are_taken(template: str) -> None:
    Addresses(template).url("accounts.search", "eu1")


@pytest.mark.parametrize(
    "template",
    [
        "http://partner.example/{namespace}",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "http://{namespace}.127.0.0.1/",
        "http://127.0.0.1:port/",
        "ftp://127.0.0.1/",
        "//127.0.0.1/",
        "127.0.0.1:9700",
        "http://127.0.0.1/{secret}",
        "http://127.0.0.1/?to={namespace}",
        "http://127.0.0.1/#",
        "http://127.0.0.1\\@evil.example/",
        "http://127.0.0.1/\r\nX: y",
        "https://",
    ],
)
def test_templates_that_could_leak_the_secret_are_refused(template: str) -> None:
    with pytest.raises(PartnerRefused, match="PARTNER_API_URL") as caught:
        Addresses(template)
    assert caught.value.stops_run


def test_an_unknown_home_is_refused_by_the_name_of_its_setting() -> None:
    with pytest.raises(PartnerRefused, match="PARTNER_HOME_DATA_CENTER"):
        PartnerSession(
            Credentials("k", "s"),
            home_data_center="xx",
            search_pace=LocalRateLimiter(0),
            call_pace=LocalRateLimiter(0),
        )
