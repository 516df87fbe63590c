"""Mail goes out through a real server: TLS first, then the sign-in, then the mail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from tests.mail_server import running
from webapp import mail
from webapp.errors import Unavailable

SIGN_IN = "reports:p%40ss%2Fword"


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("tls", ["starttls", "smtps"])
def test_a_mail_is_taken_by_the_server(
    make_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    with running(tmp_path, tls=tls) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        scheme = "smtps" if tls == "smtps" else "smtp"
        url = f"{scheme}://{SIGN_IN}@127.0.0.1:{server.port}?tls=starttls"
        app = make_app(SMTP_URL=url, MAIL_FROM="Reports <reports@example.com>")
        with app.app_context():
            assert mail.is_set_up()
            mail.send(["one@example.com", "two@example.com"], "Größe", "Text with ü\n")
    [taken] = server.mails
    assert taken["Subject"] == "Größe"
    assert taken["To"] == "one@example.com, two@example.com"
    assert taken["From"] == "Reports <reports@example.com>"
    assert taken["Message-ID"].endswith("@example.com>")
    body = taken.get_body()
    assert body is not None
    assert body.get_content().strip() == "Text with ü"


def test_a_server_that_is_not_trusted_gets_neither_sign_in_nor_mail(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    with running(tmp_path) as server:
        url = f"smtp://{SIGN_IN}@127.0.0.1:{server.port}?tls=starttls"
        with make_app(SMTP_URL=url).app_context(), pytest.raises(Unavailable):
            mail.send(["one@example.com"], "x", "x")
    assert server.mails == []


def test_what_a_server_refuses_is_said_without_its_words(
    make_app: Callable[..., Flask],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running(tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        server.refuses = True
        url = f"smtp://{SIGN_IN}@127.0.0.1:{server.port}?tls=starttls"
        with make_app(SMTP_URL=url).app_context(), pytest.raises(Unavailable) as caught:
            mail.send(["one@example.com"], "x", "x")
    assert "not here" not in caught.value.message
    assert "one@example.com" not in caplog.text
    assert "p@ss" not in caplog.text


@pytest.mark.parametrize(
    ("url", "tls", "port"),
    [
        ("smtp://mail.example.com", "starttls", 587),
        ("smtp://u:p@mail.example.com:25?tls=none", "none", 25),
        ("smtp://127.0.0.1:2525", "none", 2525),
        ("smtps://mail.example.com", "smtps", 465),
    ],
)
def test_an_address_of_a_server_says_how_it_is_spoken_to(url: str, tls: str, port: int) -> None:
    server = mail.parse_smtp_url(url)
    assert (server.tls, server.port) == (tls, port)


@pytest.mark.parametrize(
    "url",
    ["mail.example.com", "http://x", "smtp://", "smtp://h?tls=maybe", "smtp://h:x", "smtp://["],
)
def test_a_bad_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        mail.parse_smtp_url(url)
