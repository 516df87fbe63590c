"""Reaching the partner from inside a company: by a proxy, with authorities of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_server import BadServer, answer
from partner_helpers import SECRET, Talk
from test_partner_wire import GOOD, certificate, tls_server  # noqa: F401 - fixtures

from webapp.config import BadSetting, load_settings
from webapp.errors import PartnerUnavailable
from webapp.lib.settings import DATA_CENTERS
from webapp.partner.credentials import DOMAINS
from webapp.partner.searches import count_accounts
from webapp.partner.sites import Site


class Tunnel:
    """A proxy that knows CONNECT only."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heads: list[bytes] = []
        self.bytes_seen = b""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.heads.append(head)
            host, port = head.split(b" ")[1].decode().rsplit(":", 1)
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=self._pipe, args=(server, client), daemon=True)
                back.start()
                self._pipe(client, server)
                back.join(5)

    def _pipe(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                self.bytes_seen += chunk
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    tunnel = Tunnel()
    yield tunnel
    tunnel.close()


def test_an_encrypted_call_goes_through_the_proxy_and_is_read_by_nobody_there(
    talk: Talk,
    tunnel: Tunnel,
    tls_server: BadServer,  # noqa: F811
    certificate: Path,  # noqa: F811
    site: Site,
) -> None:
    tls_server.plays(answer(GOOD))
    session = talk.session(
        url_template=tls_server.template,
        proxy=tunnel.url,
        ca_file=str(certificate),
        user_agent="acme-reports/1",
    )
    assert session.ask(count_accounts(site)).value == 7
    assert tunnel.heads[0].startswith(f"CONNECT 127.0.0.1:{tls_server.port} ".encode())
    assert SECRET.encode() not in tunnel.bytes_seen
    assert tls_server.asked[0].headers["user-agent"] == "acme-reports/1"


def test_a_proxy_is_asked_for_plain_addresses_too(
    talk: Talk, server: BadServer, site: Site
) -> None:
    server.plays(answer(GOOD))
    session = talk.session(
        url_template="http://127.0.0.1:9/{namespace}.{data_center}",
        proxy=f"http://127.0.0.1:{server.port}",
    )
    assert session.ask(count_accounts(site)).value == 7
    assert server.asked[0].line.startswith("POST http://127.0.0.1:9/accounts.eu1/accounts.search ")


def test_a_proxy_that_is_away_is_named(talk: Talk, site: Site) -> None:
    session = talk.session(proxy="http://user:hidden-word@127.0.0.1:9", limits={"few_tries": 1})
    with pytest.raises(PartnerUnavailable, match="PARTNER_PROXY") as caught:
        session.ask(count_accounts(site))
    assert "hidden-word" not in caught.value.message
    assert "hidden-word" not in "".join(talk.notices)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARTNER_HOME_DATA_CENTER", "xx9"),
        ("PARTNER_PROXY", "ftp://hidden-word@proxy"),
        ("PARTNER_CA_FILE", "/nowhere/ca.pem"),
        ("PARTNER_USER_AGENT", "two\nlines"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_start_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=name) as caught:
        load_settings()
    assert "hidden-word" not in str(caught.value)


def test_the_data_centres_of_the_settings_are_those_of_the_partner() -> None:
    assert set(DATA_CENTERS) == set(DOMAINS)
