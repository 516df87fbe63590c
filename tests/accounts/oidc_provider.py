"""A small OpenID provider, a process of its own: discovery, authorize, token, keys, user info.

It signs everybody in whom `claims.json` names, and keeps to the protocol: a code works once, for
the client, the address and the PKCE verifier it was asked with. `lies` in that file makes it answer
what a client has to refuse. `python oidc_provider.py FOLDER` writes its port to FOLDER/port.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "reports", "a secret of the provider and the site"
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in "12")


class Provider(BaseHTTPRequestHandler):
    """Answers one request after the other; what was asked for stands in `codes`."""

    folder: Path
    codes: dict[str, dict[str, str]] = {}
    tokens: dict[str, dict[str, Any]] = {}

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def said(self) -> dict[str, Any]:
        return json.loads((self.folder / "claims.json").read_text())

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/.well-known/openid-configuration":
            self.answer(self.metadata())
        elif url.path == "/keys":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
            self.answer({"keys": [key | {"kid": "one", "use": "sig", "alg": "RS256"}]})
        elif url.path == "/authorize":
            self.authorize(asked)
        elif url.path == "/userinfo":
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            self.answer(self.tokens[token] | self.said().get("userinfo", {}))
        else:
            self.answer({}, 404)

    def metadata(self) -> dict[str, Any]:
        issuer = self.said().get("metadata_issuer", self.issuer)
        places = ("authorization", "token", "userinfo")
        names = {"authorization": "authorize"}
        found = {f"{one}_endpoint": f"{self.issuer}/{names.get(one, one)}" for one in places}
        return found | {
            "issuer": issuer,
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            "code_challenge_methods_supported": ["S256"],
        }

    def authorize(self, asked: dict[str, str]) -> None:
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        back = {"state": asked["state"]}
        if "error" in self.said():
            back["error"] = self.said()["error"]
        else:
            back["code"] = secrets.token_urlsafe()
            self.codes[back["code"]] = asked
        self.send_response(302)
        self.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back)}")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        asked = self.codes.pop(form["code"], None)
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or self.headers.get("Authorization") != f"Basic {basic}"
            or form["redirect_uri"] != asked["redirect_uri"]
            or challenge != asked["code_challenge"]
        ):
            self.answer({"error": "invalid_grant"}, 400)
            return
        said, now, token = self.said(), int(time.time()), secrets.token_urlsafe()
        self.tokens[token] = said["claims"]
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": said["claims"]["sub"],
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
        } | said.get("lies", {})
        key: Any = OTHER_KEY if said.get("signed_by") == "another" else KEY
        algorithm = said.get("algorithm", "RS256")
        if algorithm == "HS256":
            key = CLIENT_SECRET
        id_token = jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            None if algorithm == "none" else key,
            algorithm=algorithm,
            headers={"kid": "one"},
        )
        self.answer({"access_token": token, "token_type": "Bearer", "id_token": id_token})

    def answer(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: tests fail on what they see."""


if __name__ == "__main__":
    Provider.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    half = Provider.folder / "port.half"
    half.write_text(str(server.server_address[1]))
    half.rename(Provider.folder / "port")
    server.serve_forever()
