"""A real mail server for tests: it speaks SMTP with TLS, asks for a sign-in, keeps what it took."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "reports", "p@ss/word"


@dataclass
class MailServer:
    """What a running server took, and where it listens."""

    port: int = 0
    certificate: Path = Path()
    refuses: bool = False
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Take a mail, or refuse it."""
        if self.refuses:
            return "550 not here"
        taken = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(cast("EmailMessage", taken))
        return "250 OK"

    def text(self) -> str:
        """Return the text of the only mail there is, and forget it."""
        [mail] = self.mails
        self.mails.clear()
        return str(mail.get_content())


class OwnPort(Controller):
    """Listens on a port the machine gives, so that tests side by side do not meet."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def running(folder: Path, *, tls: str = "starttls") -> Iterator[MailServer]:
    """Run a server on loopback. tls: `starttls`, needed before signing in, or `smtps`."""
    server = MailServer(certificate=folder / "mail.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(_certificate(server.certificate), folder / "mail.key")

    def check(_server: Any, _session: Any, _envelope: Any, _how: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        return AuthResult(
            success=data.login == USER.encode() and data.password == PASSWORD.encode()
        )

    asked = {"authenticator": check, "auth_required": True}
    how: dict[str, Any] = (
        {"ssl_context": context}
        if tls == "smtps"
        else {
            "tls_context": context,
            "require_starttls": True,
        }
    )
    if tls == "smtps":
        asked["auth_require_tls"] = False  # it does not count the TLS it stands behind
    controller = OwnPort(server, hostname="127.0.0.1", port=0, **asked, **how)
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()


def _certificate(path: Path) -> Path:
    """Write a certificate of 127.0.0.1 that signs itself, its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
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
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
