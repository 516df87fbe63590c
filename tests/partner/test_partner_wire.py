"""Connections that break, hang, drip, swell or lie: a clear error, in bounded time, each time."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from bad_server import (
    Asked,
    BadServer,
    answer,
    envelope,
    http,
    raw,
    reset,
    zipped,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from partner_helpers import Talk, body_of

from tests.soon import soon
from webapp.errors import PartnerContract, PartnerRefused, PartnerUnavailable, RunEnded
from webapp.partner.searches import count_accounts
from webapp.partner.session import PartnerSession
from webapp.partner.sites import Site

Ask = Callable[[], dict[str, Any]]
GOOD = {"results": [{"count(*)": 7}], "totalCount": 7}


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    with soon():
        yield


def test_a_connection_that_is_reset_is_tried_again(server: BadServer, talk: Talk, ask: Ask) -> None:
    server.plays(reset, reset, answer({"fine": 1}))
    assert ask()["fine"] == 1
    assert talk.sent == 3


def test_connections_reset_for_ever_end_after_six_tries(
    server: BadServer, talk: Talk, ask: Ask
) -> None:
    server.plays(reset)
    with pytest.raises(PartnerUnavailable, match="broke off"):
        ask()
    assert talk.sent == 6


def test_a_refused_connection_is_tried_a_few_times(talk: Talk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    session = talk.session(url_template=f"http://127.0.0.1:{port}/{{namespace}}.{{data_center}}")
    with pytest.raises(PartnerUnavailable, match="cannot be reached"):
        body_of(session, "accounts.search", "eu1", {})
    assert talk.sent == 3


def test_an_unknown_host_is_an_error_that_names_the_network(talk: Talk) -> None:
    session = talk.session(url_template="https://partner.invalid/{namespace}.{data_center}")
    with pytest.raises(PartnerUnavailable, match="not found by name"):
        body_of(session, "accounts.search", "eu1", {})


def test_a_partner_that_hangs_is_given_up_at_the_deadline(talk: Talk) -> None:
    talk.server.plays(talk.server.hang)
    session = talk.session(limits={"tries": 2, "margin_s": 0.3})
    started = time.monotonic()
    with pytest.raises(PartnerUnavailable, match="in time"):
        body_of(session, "accounts.search", "eu1", {})
    assert time.monotonic() - started > 0.9
    assert talk.sent == 2


def test_an_answer_that_drips_is_cut_at_the_deadline_of_the_whole_request(talk: Talk) -> None:
    server = talk.server
    session = talk.session(limits={"tries": 1, "margin_s": 0.3})
    for whole in (http(envelope({})), b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 5000):
        server.plays(server.drip(whole))
        with pytest.raises(PartnerUnavailable, match="in time"):
            body_of(session, "accounts.search", "eu1", {})


def test_a_body_that_drips_is_cut_too(talk: Talk) -> None:
    server = talk.server
    head, body = http(envelope({})).split(b"\r\n\r\n")

    def move(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(head + b"\r\n\r\n")
        server.drip(body)(connection, asked)

    server.plays(move)
    session = talk.session(limits={"tries": 1, "margin_s": 0.3})
    with pytest.raises(PartnerUnavailable, match="in time"):
        body_of(session, "accounts.search", "eu1", {})


def test_a_fast_answer_without_end_is_cut_at_its_cap(talk: Talk) -> None:
    sent = 0

    def move(connection: socket.socket, asked: Asked) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(200):
            connection.sendall(b" " * 1024 * 1024)
            sent += 1

    talk.server.plays(move)
    session = talk.session()
    with pytest.raises(PartnerContract, match="larger"):
        body_of(session, "accounts.search", "eu1", {})
    assert talk.sent == 1
    assert sent < 20


def test_an_answer_that_declares_200_mb_is_not_read_at_all(
    server: BadServer, talk: Talk, ask: Ask
) -> None:
    server.plays(raw(http(b"{}", Content_Length=str(200 * 1024 * 1024))))
    with pytest.raises(PartnerContract, match="larger"):
        ask()
    assert talk.sent == 1


def test_a_gzip_bomb_is_not_unpacked(server: BadServer, talk: Talk, ask: Ask) -> None:
    server.plays(zipped(b" " * 50 * 1024 * 1024 + envelope({})))
    with pytest.raises(PartnerContract, match="larger"):
        ask()
    assert talk.sent == 1


def test_sites_may_fill_sixteen_megabytes_but_a_search_only_one(talk: Talk) -> None:
    session = talk.session()
    talk.server.plays(answer({"pad": "x" * 3 * 1024 * 1024}))
    assert body_of(session, "admin.getUserSites", "us1", {})["errorCode"] == 0
    assert body_of(session, "admin.getSiteConfig", "us1", {})["errorCode"] == 0
    with pytest.raises(PartnerContract, match="larger"):
        body_of(session, "accounts.search", "us1", {})


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_a_zipped_answer_is_read(server: BadServer, ask: Ask, encoding: str) -> None:
    server.plays(raw(http(gzip.compress(envelope({"fine": 1})), Content_Encoding=encoding)))
    assert ask()["fine"] == 1


def test_a_deflated_answer_is_read(server: BadServer, ask: Ask) -> None:
    server.plays(raw(http(zlib.compress(envelope({"fine": 1})), Content_Encoding="deflate")))
    assert ask()["fine"] == 1


@pytest.mark.parametrize(
    "move",
    [
        zipped(envelope({"x": list(range(999))}), cut=60),
        zipped(envelope({"x": 1}), cut=-4),
        zipped(envelope({"x": 1}), cut=0),
        raw(http(b"this is not gzip at all", Content_Encoding="gzip")),
        raw(http(envelope({}), Content_Encoding="br")),
    ],
    ids=["cut", "no checksum", "empty", "not gzip", "brotli"],
)
def test_damaged_compression_is_tried_again_and_never_believed(
    server: BadServer, talk: Talk, ask: Ask, move: Any
) -> None:
    server.plays(move)
    with pytest.raises(PartnerContract, match="damaged"):
        ask()
    assert talk.sent == 6


def test_an_answer_shorter_than_declared_is_tried_again(
    server: BadServer, talk: Talk, ask: Ask
) -> None:
    cut = raw(http(envelope({}), Content_Length="4000"), close=True)
    server.plays(cut, answer({"fine": 1}))
    assert ask()["fine"] == 1
    assert talk.sent == 2


def test_chunks_are_read_and_broken_chunks_tried_again(
    server: BadServer, talk: Talk, ask: Ask
) -> None:
    body = envelope({"fine": 1})
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    server.plays(raw(head + b"zz\r\n", close=True), raw(whole))
    assert ask()["fine"] == 1
    assert talk.sent == 2


def test_nonsense_instead_of_http_is_an_error(server: BadServer, talk: Talk, ask: Ask) -> None:
    server.plays(raw(b"220 mail.example.com ESMTP\r\n\r\n", close=True))
    with pytest.raises(PartnerUnavailable):
        ask()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(server: BadServer, talk: Talk, ask: Ask, status: int) -> None:
    with BadServer() as elsewhere:
        goal = f"http://127.0.0.1:{elsewhere.port}/"
        server.plays(raw(http(b"x" * 10, status, Location=goal)))
        with pytest.raises(PartnerRefused, match="never followed"):
            ask()
        assert talk.sent == 1
        assert elsewhere.connections == 0


def test_a_redirect_with_an_endless_body_is_not_read(talk: Talk, ask: Ask) -> None:
    talk.server.plays(
        raw(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 999999999\r\n\r\n")
    )
    with pytest.raises(PartnerRefused):
        ask()


def test_connections_are_kept_open_between_calls(server: BadServer, ask: Ask) -> None:
    for _ in range(5):
        ask()
    assert server.connections == 1


def test_a_connection_closed_meanwhile_is_opened_again(server: BadServer, ask: Ask) -> None:
    server.plays(raw(http(envelope({})), close=True))
    for _ in range(3):
        ask()


def test_proxies_of_the_environment_never_see_the_secret(
    server: BadServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BadServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        ask()
        assert proxy.connections == 0


def test_work_that_is_no_longer_wanted_ends_in_mid_answer(talk: Talk) -> None:
    talk.server.plays(talk.server.hang)
    ends = time.monotonic() + 0.2

    def stop() -> None:
        if time.monotonic() > ends:
            raise RunEnded("cancelled")

    session = talk.session(stop=stop)
    with pytest.raises(RunEnded, match="cancelled"):
        body_of(session, "accounts.search", "eu1", {})


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that only its own maker trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bad server")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[BadServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with BadServer(context) as server:
        yield server


def over_tls(talk: Talk, tls_server: BadServer, **limits: Any) -> PartnerSession:
    return talk.session(url_template=tls_server.template, limits=limits)


def test_an_untrusted_certificate_stops_the_run_before_the_secret_is_sent(
    talk: Talk, tls_server: BadServer, site: Site
) -> None:
    with pytest.raises(PartnerRefused, match="certificate") as caught:
        over_tls(talk, tls_server).ask(count_accounts(site))
    assert caught.value.stops_run
    assert talk.sent == 1
    assert tls_server.asked == []


def test_a_trusted_server_is_talked_to(
    talk: Talk, tls_server: BadServer, site: Site, certificate: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_server.plays(answer(GOOD))
    session = over_tls(talk, tls_server)
    assert session.ask(count_accounts(site)).value == 7
    assert session.ask(count_accounts(site)).value == 7
    assert tls_server.connections == 1


def test_a_wrong_host_name_is_an_untrusted_certificate(
    talk: Talk, tls_server: BadServer, site: Site, certificate: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    template = tls_server.template.replace("127.0.0.1", "localhost")
    with pytest.raises(PartnerRefused, match="certificate"):
        talk.session(url_template=template, limits={"tries": 1}).ask(count_accounts(site))


def test_an_encrypted_answer_that_drips_is_cut_at_the_deadline(
    talk: Talk, tls_server: BadServer, site: Site, certificate: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_server.plays(tls_server.drip(http(json.dumps(GOOD).encode())))
    with pytest.raises(PartnerUnavailable, match="in time"):
        over_tls(talk, tls_server, tries=1, margin_s=0.3).ask(count_accounts(site))


def test_a_server_that_never_shakes_hands_is_given_up(talk: Talk, site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        template = f"https://127.0.0.1:{silent.getsockname()[1]}/{{namespace}}.{{data_center}}"
        limits = {"tries": 1, "connect_s": 0.5, "margin_s": 0.3}
        with pytest.raises(PartnerUnavailable):
            talk.session(url_template=template, limits=limits).ask(count_accounts(site))


def test_a_server_that_speaks_no_tls_is_an_error_tried_a_few_times(
    talk: Talk, server: BadServer, site: Site
) -> None:
    template = server.template.replace("http:", "https:")
    limits = {"tries": 1, "connect_s": 0.5, "margin_s": 0.3}
    with pytest.raises(PartnerUnavailable, match=r"encrypted|broke off|in time"):
        talk.session(url_template=template, limits=limits).ask(count_accounts(site))
