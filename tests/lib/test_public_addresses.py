"""No address that a person names leads into a private network, whatever its spelling."""

from __future__ import annotations

import pytest

from webapp.errors import InvalidParams
from webapp.lib.public_addresses import check_address


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "[::1]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[2002:7f00:1::]",
        "[2002:a01:203::1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::a01:203]",
    ],
)
def test_a_private_address_is_refused_by_what_it_leads_to(address: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        check_address(f"http://{address}/x", private_allowed=False)
    assert "private network" in refused.value.errors["url"]


@pytest.mark.parametrize("address", ["8.8.8.8", "[2606:4700:4700::1111]", "[64:ff9b::808:808]"])
def test_a_public_address_may_be_asked(address: str) -> None:
    check_address(f"https://{address}/x", private_allowed=False)


@pytest.mark.parametrize(
    "url", ["http://[", "http://", "ftp://8.8.8.8/", "https://u:p@8.8.8.8/", "x"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(InvalidParams):
        check_address(url, private_allowed=True)
