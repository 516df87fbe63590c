"""What every call has in common: the form of request and answer, keys, data centres, the list."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from sandbox import truth
from sandbox.partners import PARTNERS, api_key

COUNT = "SELECT count(*) FROM accounts"


def code(answer: dict[str, Any]) -> int:
    return answer["errorCode"]


def listed(answer: dict[str, Any]) -> list[dict[str, Any]]:
    (entry,) = answer["sites"]
    return entry["sites"]


def test_errors_come_with_http_200_unless_asked_otherwise(call: Any) -> None:
    response = call.post("admin.getUserSites", secret="wrong", targetPartnerID=1)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/javascript")
    body = response.json()
    assert body["errorCode"] == 403010
    assert body["statusCode"] == 403
    assert body["statusReason"] == "Forbidden"
    assert len(body["callId"]) == 32
    assert {"time", "apiVersion", "errorMessage", "errorDetails"} <= set(body)
    assert "wrong" not in response.text
    shown = call.post("admin.getUserSites", secret="wrong", httpStatusCodes="true")
    assert shown.status_code == 403


def test_answers_are_gzipped_only_when_asked(call: Any) -> None:
    assert call.post("admin.getUserSites").headers["Content-Encoding"] == "gzip"
    call.session.headers["Accept-Encoding"] = "identity"
    assert "Content-Encoding" not in call.post("admin.getUserSites").headers


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE"])
def test_only_post_is_taken(call: Any, verb: str) -> None:
    url = call.stand_in.url_template.format(namespace="accounts", data_center="us1")
    response = requests.request(verb, f"{url}/accounts.search", timeout=60)
    assert code(response.json()) == 400001


def test_parameters_in_the_url_and_json_bodies_are_refused(call: Any) -> None:
    url = call.stand_in.url_template.format(namespace="accounts", data_center="us1")
    for response in (
        requests.post(f"{url}/accounts.search?userKey=demo-user-key", data={"a": 1}, timeout=60),
        requests.post(f"{url}/accounts.search", json={"userKey": "x"}, timeout=60),
        requests.post(f"{url}/accounts.search", data=b"%%%", timeout=60),
    ):
        assert code(response.json()) == 400001


def test_an_unknown_host_is_a_plain_404(call: Any) -> None:
    url = f"http://127.0.0.1:{call.stand_in.port}"
    for path in ("/", "/accounts.mars1/accounts.search", "/accounts.us1/accounts.search/"):
        assert requests.post(url + path, data={}, timeout=60).status_code == 404


def test_credentials_are_checked(call: Any) -> None:
    site = truth.sites(70000001)[0]
    assert code(call("admin.getUserSites", userKey="nobody", secret="x")) == 403005
    assert code(call("admin.getUserSites", secret="")) == 400002
    assert code(call("admin.getUserSites", userKey="no-list-user-key")) == 403007
    assert code(call("admin.getPartner")) == 405001
    assert code(call("accounts.search", apiKey="nonsense", query=COUNT)) == 400093
    assert code(call("accounts.search", apiKey=api_key(1, 1), query=COUNT)) == 400093
    assert code(call("accounts.search", query=COUNT)) == 400002
    rows = "SELECT created FROM accounts"
    assert code(call.search(site, rows, userKey="counts-only-user-key")) == 403007
    assert code(call.search(site, COUNT, userKey="counts-only-user-key")) == 0


def test_a_site_answers_where_it_lives(call: Any) -> None:
    site = truth.sites(70000001)[0]
    answer = call("accounts.search", "au1", apiKey=site.api_key, query=COUNT)
    assert (code(answer), answer["apiDomain"]) == (301001, "eu1.gigya.com")
    assert code(call("admin.getSiteConfig", "us1", apiKey=site.api_key)) == 0
    assert code(call("admin.getSiteConfig", "eu1", apiKey=site.api_key)) == 0
    assert code(call("admin.getSiteConfig", "au1", apiKey=site.api_key)) == 301001
    assert code(call("admin.getSiteConfig", "eu2", apiKey=site.api_key)) == 301001


@pytest.mark.parametrize("partner", sorted(PARTNERS))
def test_a_partners_list_is_the_truth(call: Any, partner: int) -> None:
    rows = listed(call("admin.getUserSites", targetPartnerID=partner))
    assert [(row["siteID"], row["apiKey"], row["baseDomain"]) for row in rows] == [
        (site.site_id, site.api_key, site.name) for site in truth.sites(partner)
    ]


def test_unknown_and_empty_partners_have_no_sites(call: Any) -> None:
    assert call("admin.getUserSites", targetPartnerID=12345678)["sites"] == []
    assert listed(call("admin.getUserSites", targetPartnerID=70000003)) == []
    assert code(call("admin.getUserSites", targetPartnerID="7e7")) == 400006


def test_a_key_sees_its_own_sites_only(call: Any) -> None:
    rows = listed(call("admin.getUserSites", targetPartnerID=70000001, userKey="partial-user-key"))
    assert [row["siteID"] for row in rows] == [119500000001, 119500000003, 119500000005]
    hidden = truth.sites(70000001)[3]
    assert code(call.search(hidden, COUNT, userKey="partial-user-key")) == 403007
    assert len(truth.sites(70000001, user_key="partial-user-key")) == 3


def test_groups_show_in_the_configuration(call: Any) -> None:
    def config(partner: int, position: int, **params: Any) -> dict[str, Any]:
        key = truth.sites(partner)[position].api_key
        return call("admin.getSiteConfig", apiKey=key, includeSiteGroupConfig="true", **params)

    parent, child, alone = (config(70000001, position) for position in (0, 1, 3))
    assert parent["siteGroupOwner"] == child["siteGroupOwner"] == api_key(70000001, 0)
    assert parent["siteGroupConfig"]["members"] == [api_key(70000001, 1), api_key(70000001, 2)]
    assert "members" not in child["siteGroupConfig"]
    assert alone["siteGroupConfig"] == {"enableSSO": False}
    assert "siteGroupOwner" not in alone
    assert parent["recaptchaV2"]["Secret"]
    quiet_parent = config(70000008, 0)
    assert "siteGroupOwner" not in quiet_parent
    assert quiet_parent["siteGroupConfig"]["members"]
    assert "siteGroupOwner" not in config(70000008, 2)
    assert config(70000008, 4)["siteGroupOwner"] == ""
    blind = config(70000001, 1, userKey="no-groups-user-key")
    assert [one["paramName"] for one in blind["ignoredParams"]] == ["includeSiteGroupConfig"]
    assert not {"siteGroupOwner", "siteGroupConfig"} & set(blind)


def test_refused_and_deleted_sites_answer_so(call: Any) -> None:
    sites = truth.sites(70000007)
    answers = [call.search(site, COUNT) for site in sites]
    assert [code(answer) for answer in answers] == [0, 403007, 0, 403036, 403007, 0]
    assert [truth.problem(site) for site in sites] == [None, 403007, None, 403036, 403007, None]
    assert "was deleted" in answers[4]["errorDetails"]
    assert code(call("admin.getSiteConfig", apiKey=sites[4].api_key)) == 403007
    assert code(call("admin.getSiteConfig", apiKey=sites[1].api_key)) == 0


def test_unknown_parameters_are_named_and_context_comes_back(call: Any) -> None:
    answer = call("admin.getUserSites", targetPartnerID=70000003, shoeSize=42, context="mine")
    assert answer["ignoredParams"][0]["paramName"] == "shoeSize"
    assert answer["context"] == "mine"
    assert code(call("admin.getUserSites", shoeSize=42, checkParams="true")) == 403007


def test_the_moved_site_is_listed_in_one_place_and_configured_in_another(call: Any) -> None:
    moved = next(site for site in truth.sites(70000002) if site.listed_data_center)
    rows = listed(call("admin.getUserSites", targetPartnerID=70000002))
    assert rows[moved.position]["dataCenter"] == "us1"
    assert call("admin.getSiteConfig", apiKey=moved.api_key)["dataCenter"] == "eu1"
    assert code(call.search(moved, COUNT)) == 0
