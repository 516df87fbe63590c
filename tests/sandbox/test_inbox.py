"""Mails and webhooks that the demo sends out: taken by the stand-in, and shown without harm."""

from __future__ import annotations

import smtplib
import socket
from email.message import EmailMessage

import requests

from sandbox.testing import running


def test_a_mail_is_taken_and_shown_with_its_picture_and_without_script() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "<b>A month</b>", "a@x.example", "b@x.example"
    mail.set_content("Users: 5")
    mail.add_alternative('<script>x</script><img src="cid:chart">', subtype="html")
    html = mail.get_payload()[1]  # type: ignore[index]
    html.add_related(b"\x89PNG", "image", "png", cid="<chart>")  # type: ignore[union-attr]
    mail.add_attachment(b"a,b", maintype="text", subtype="csv", filename="month.csv")
    with running(mail_port=port) as stand_in:
        address = f"http://127.0.0.1:{stand_in.port}"
        assert "Nothing has come yet" in requests.get(f"{address}/mail", timeout=60).text
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as server:
            server.send_message(mail)
        listed = requests.get(f"{address}/mail", timeout=60).text
        assert "&lt;b&gt;A month&lt;/b&gt;" in listed
        assert "with month.csv" in listed
        shown = requests.get(f"{address}/mail/0", timeout=60)
        assert 'src="data:image/png;base64,iVBORw==' in shown.text
        assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
        assert "sandbox" in shown.headers["Content-Security-Policy"]
        for wrong in ("1", "x", "99999"):
            assert requests.get(f"{address}/mail/{wrong}", timeout=60).status_code == 404


def test_a_webhook_is_taken_and_shown() -> None:
    with running() as stand_in:
        address = f"http://127.0.0.1:{stand_in.port}/hooks"
        headers = {"webhook-id": "msg_1"}
        sent = requests.post(address, json={"type": "<i>"}, headers=headers, timeout=60)
        assert sent.status_code == 204
        page = requests.get(address, timeout=60).text
        assert "webhook-id: msg_1" in page
        assert "&lt;i&gt;" in page
