"""Lists and configurations as strangers fill them in, and who is whose child."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bad_server import BadServer, answer, http, raw
from partner_helpers import Talk

from webapp.errors import PartnerContract
from webapp.partner.session import PartnerSession
from webapp.partner.sites import (
    NAME_CAP,
    Site,
    SiteClass,
    SiteConfig,
    classify,
    list_sites,
    site_config,
)

PARTNER = "70000001"
SHOP = {
    "siteID": 119500000001,
    "apiKey": "4_aaaaAAAA-00_parent",
    "baseDomain": "shop.example.com",
    "description": "Shop (group owner)",
    "dataCenter": "eu1",
}
BLOG = {
    "siteID": 119500000002,
    "apiKey": "4_bbbbBBBB-00_child",
    "baseDomain": "",
    "description": "länder",
    "dataCenter": "US1",
}


def listed(session: PartnerSession, server: BadServer, sites: Any) -> list[Site] | None:
    server.plays(answer({"sites": sites}))
    return list_sites(session, PARTNER)


def one(session: PartnerSession, server: BadServer, **changed: Any) -> Site:
    sites = listed(session, server, [{"partnerID": 70000001, "sites": [{**SHOP, **changed}]}])
    assert sites is not None
    assert len(sites) == 1
    return sites[0]


def test_the_list_is_asked_of_the_home_data_centre_for_one_partner(
    talk: Talk, server: BadServer
) -> None:
    session = talk.session(home_data_center="EU2")
    sites = listed(session, server, [{"partnerID": 70000001, "sites": [SHOP, BLOG]}])
    assert sites == [
        Site("119500000001", "4_aaaaAAAA-00_parent", "shop.example.com", "eu1"),
        Site("119500000002", "4_bbbbBBBB-00_child", "länder", "us1"),
    ]
    (asked,) = server.asked
    assert asked.path == "/admin.eu2/admin.getUserSites"
    assert asked.form["targetPartnerID"] == PARTNER
    assert "timeout" not in asked.form
    assert talk.notices == []


@pytest.mark.parametrize("sites", [[], None, [{"partnerID": 7, "sites": [SHOP]}], [None, 5, "x"]])
def test_a_partner_that_is_not_in_the_answer_is_none(
    session: PartnerSession, server: BadServer, sites: Any
) -> None:
    assert listed(session, server, sites) is None


def test_an_answer_without_the_field_is_none(session: PartnerSession, server: BadServer) -> None:
    server.plays(answer({}))
    assert list_sites(session, PARTNER) is None


@pytest.mark.parametrize("inner", [[], None])
def test_a_partner_without_sites_is_an_empty_list(
    session: PartnerSession, server: BadServer, inner: Any
) -> None:
    assert listed(session, server, [{"partnerID": PARTNER, "sites": inner}]) == []


def test_double_entries_are_merged_and_foreign_ones_ignored(
    session: PartnerSession, server: BadServer
) -> None:
    entries = [
        {"partnerID": 8, "sites": [{**SHOP, "siteID": 9, "apiKey": "4_foreign"}]},
        {"partnerID": 70000001, "sites": [SHOP]},
        {"partnerID": " 70000001 ", "sites": [BLOG]},
    ]
    sites = listed(session, server, entries)
    assert [site.site_id for site in sites or ()] == ["119500000001", "119500000002"]


def test_sites_of_one_id_are_told_apart_by_their_keys_and_doubles_taken_once(
    talk: Talk, server: BadServer
) -> None:
    inner = [SHOP, SHOP, {**SHOP, "apiKey": "4_other"}, {**SHOP, "siteID": 5}, BLOG]
    sites = listed(talk.session(), server, [{"partnerID": 70000001, "sites": inner}])
    assert [(site.site_id, site.api_key, site.shares_id) for site in sites or ()] == [
        (str(SHOP["siteID"]), SHOP["apiKey"], True),
        (str(SHOP["siteID"]), "4_other", True),
        (str(BLOG["siteID"]), BLOG["apiKey"], False),
    ]
    assert len({site.store_item for site in sites or ()}) == 3
    assert talk.notices == [
        "2 sites are listed twice, by API key; each counts once.",
        "Several sites have the site ID 119500000001; their API keys tell them apart, and each is "
        "counted.",
    ]


@pytest.mark.parametrize("sites", [{}, "x", 5, True, [{"partnerID": 70000001, "sites": {"a": 1}}]])
def test_a_list_that_is_none_breaks_the_contract(
    session: PartnerSession, server: BadServer, sites: Any
) -> None:
    with pytest.raises(PartnerContract, match="no list"):
        listed(session, server, sites)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x" * 10_000, "x" * (NAME_CAP - 1) + "…"),
        ("a\r\nb\tc\x00d\u2028e", "a b c d e"),
        ("=HYPERLINK(1)", "=HYPERLINK(1)"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("a\ud800b", "a\ufffdb"),
        ("  spaced   out ", "spaced out"),
        ("münchen.例え", "münchen.例え"),
        ("", "Shop (group owner)"),
        (" \n", "Shop (group owner)"),
        (None, "Shop (group owner)"),
        (5, "Shop (group owner)"),
    ],
)
def test_names_are_cleaned(
    session: PartnerSession, server: BadServer, name: Any, shown: str
) -> None:
    site = one(session, server, baseDomain=name)
    assert site.name == shown
    assert site.name.encode()


@pytest.mark.parametrize("key", [None, "", 5, "a b", "x\n", "ключ", "x" * 201])
def test_a_site_without_a_usable_key_stays_listed_and_fails_alone(
    talk: Talk, server: BadServer, key: Any
) -> None:
    session = talk.session()
    site = one(session, server, apiKey=key)
    assert (site.site_id, site.api_key) == ("119500000001", "")
    with pytest.raises(PartnerContract, match="without an API key"):
        session.ask(site_config(site))
    assert talk.sent == 1


@pytest.mark.parametrize("site_id", [None, "", True, 1.5, [], {}, "a b"])
def test_a_site_without_an_id_goes_by_its_key(
    session: PartnerSession, server: BadServer, site_id: Any
) -> None:
    assert one(session, server, siteID=site_id).site_id == SHOP["apiKey"]


def test_sites_that_are_nothing_at_all_are_listed_as_holes(
    session: PartnerSession, server: BadServer
) -> None:
    sites = listed(session, server, [{"partnerID": 70000001, "sites": [None, "x", {}]}])
    assert [site.site_id for site in sites or ()] == ["entry-1", "entry-2", "entry-3"]


@pytest.mark.parametrize("name", ["evil.example/", "x" * 900, None, 7, "a\nb\ud800"])
def test_a_hostile_data_centre_leaves_the_list_whole(
    session: PartnerSession, server: BadServer, name: Any
) -> None:
    site = one(session, server, dataCenter=name)
    assert len(site.data_center) <= 40
    assert site.data_center.isprintable()


def test_lone_surrogates_escaped_in_json_are_cleaned(
    session: PartnerSession, server: BadServer
) -> None:
    body = '{"errorCode":0,"sites":[{"partnerID":70000001,"sites":[{"siteID":1,"apiKey":"k",'
    server.plays(raw(http((body + '"baseDomain":"a\\ud83db","dataCenter":"us1"}]}]}').encode())))
    (site,) = list_sites(session, PARTNER) or ()
    assert site.name == "a\ufffdb"


def test_a_damaged_byte_in_the_list_is_replaced_and_told(talk: Talk, server: BadServer) -> None:
    body = b'{"errorCode":0,"sites":[{"partnerID":70000001,"sites":[{"siteID":1,"apiKey":"k",'
    server.plays(raw(http(body + b'"baseDomain":"caf\xe9","dataCenter":"us1"}]}]}')))
    (site,) = list_sites(talk.session(), PARTNER) or ()
    assert site.name == "caf\ufffd"
    assert len(talk.notices) == 1


def test_a_site_without_a_name_is_called_by_its_id(
    session: PartnerSession, server: BadServer
) -> None:
    assert one(session, server, baseDomain=" ", description=None, siteID=77).name == "77"


# -- configuration -------------------------------------------------------------------------------


def config_of(session: PartnerSession, server: BadServer, site: Site, **body: Any) -> SiteConfig:
    server.plays(answer({"dataCenter": "eu1", **body}))
    return session.ask(site_config(site))


def test_the_configuration_is_asked_at_the_sites_own_data_centre(
    session: PartnerSession, server: BadServer, site: Site
) -> None:
    config = config_of(
        session,
        server,
        site,
        siteGroupOwner=" 4_owner ",
        siteGroupConfig={"members": ["4_x", "4_x", site.api_key, " 4_y", ""]},
    )
    assert config == SiteConfig("eu1", "4_owner", ("4_x", "4_y"))
    (asked,) = server.asked
    assert asked.path == "/admin.eu1/admin.getSiteConfig"
    assert (asked.form["apiKey"], asked.form["includeSiteGroupConfig"]) == (site.api_key, "true")


@pytest.mark.parametrize("owner", ["", "  ", None])
def test_an_empty_owner_is_none(
    session: PartnerSession, server: BadServer, site: Site, owner: Any
) -> None:
    assert config_of(session, server, site, siteGroupOwner=owner) == SiteConfig("eu1", None, ())


@pytest.mark.parametrize(
    "ignored",
    [
        ["includeSiteGroupConfig"],
        [{"paramName": "includeSiteGroupConfig", "warningCode": 403007}],
        {"includeSiteGroupConfig": 403007},
        "includeSiteGroupConfig, other",
    ],
)
def test_an_ignored_group_question_is_noticed(
    session: PartnerSession, server: BadServer, site: Site, ignored: Any
) -> None:
    assert not config_of(session, server, site, ignoredParams=ignored).has_group_config
    assert config_of(session, server, site, ignoredParams=["other"]).has_group_config


@pytest.mark.parametrize(
    "body",
    [
        {"siteGroupOwner": 5},
        {"siteGroupConfig": "x"},
        {"siteGroupConfig": {"members": "4_x"}},
        {"siteGroupConfig": {"members": [5]}},
    ],
)
def test_a_strange_group_breaks_the_contract(
    session: PartnerSession, server: BadServer, site: Site, body: dict[str, Any]
) -> None:
    with pytest.raises(PartnerContract, match="siteGroup"):
        config_of(session, server, site, **body)


@pytest.mark.parametrize(
    ("services", "sso", "on"),
    [
        ({"accounts": {"enabled": True}, "ids": {"enabled": True}, "ds": {"enabled": False}}, False,
         ("accounts", "identity_store")),
        ({"ds": {"enabled": True}, "gm": {"enabled": True}}, True, ("data_store", "sso")),
        ({"accounts": {"enabled": "true"}, "ids": 7}, "yes", ()),
        (None, True, None),
        ([], True, None),
    ],
)  # fmt: skip
def test_a_configuration_says_which_services_are_on(
    session: PartnerSession,
    server: BadServer,
    site: Site,
    services: Any,
    sso: Any,
    on: tuple[str, ...] | None,
) -> None:
    config = config_of(session, server, site, services=services, siteGroupConfig={"enableSSO": sso})
    assert config.services == on
    assert server.asked[0].form["includeServices"] == "true"


def test_captcha_secrets_of_a_configuration_are_not_kept(
    session: PartnerSession, server: BadServer, site: Site
) -> None:
    body = {"recaptchaV2": {"SiteKey": "k", "Secret": "captcha-canary"}}
    assert "canary" not in json.dumps(vars(config_of(session, server, site, **body)))


# -- groups --------------------------------------------------------------------------------------


def places(**configs: SiteConfig | None) -> dict[str, SiteClass]:
    sites = [Site(key, key, key, "eu1") for key in configs]
    return classify(sites, {key: config for key, config in configs.items() if config})


def config(owner: str | None = None, *members: str, right: bool = True) -> SiteConfig:
    return SiteConfig("eu1", owner, members, right)


def test_a_parent_its_child_and_a_site_alone() -> None:
    found = places(p=config(None, "c"), c=config("p"), s=config())
    assert found == {
        "p": SiteClass("parent"),
        "c": SiteClass("child", "p"),
        "s": SiteClass("standalone"),
    }


def test_a_parent_may_name_itself_as_owner() -> None:
    assert places(p=config("p", "c"), c=config("p"))["p"] == SiteClass("parent")
    assert places(s=config("s"))["s"] == SiteClass("standalone")


def test_an_owner_wins_over_members_with_a_warning() -> None:
    found = places(p=config(None, "c"), c=config("p", "d"), d=config())
    assert found["c"].kind == "child"
    assert "also names children" in (found["c"].warning or "")
    assert found["d"].kind == "standalone"


def test_a_site_its_parent_names_is_a_child_whatever_it_says() -> None:
    found = places(p=config(None, "c", "u", "away"), c=config(), u=None)
    for key in ("c", "u"):
        assert (found[key].kind, found[key].parent_api_key) == ("child", "p")
        assert found[key].warning
    assert "away" not in found


def test_two_sites_that_name_each_other_are_not_both_lost() -> None:
    found = places(a=config(None, "b"), b=config(None, "a"))
    assert [place.kind for place in found.values()] == ["parent", "child"]


def test_an_orphan_child_is_told_of() -> None:
    found = places(c=config("elsewhere"))
    assert found["c"].kind == "child"
    assert "in no total" in (found["c"].warning or "")


def test_children_of_children_and_circles_are_told_of() -> None:
    found = places(a=config("b"), b=config("a"))
    assert all("itself a child" in (place.warning or "") for place in found.values())


def test_a_missing_right_or_configuration_proves_nothing() -> None:
    found = places(a=config(right=False), b=None, c=config("a", right=False))
    assert found["a"].kind == "unknown"
    assert "counted twice" in (found["a"].warning or "")
    assert found["b"] == SiteClass("unknown")
    assert found["c"].kind == "child"
