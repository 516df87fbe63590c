"""Presigned addresses: whoever holds one may fetch one file, for five minutes, without signing in.

The signature covers the file, the moment and the user who asked, under a key of this purpose alone.
"""

from __future__ import annotations

from datetime import timedelta

from flask import url_for
from itsdangerous import BadSignature, TimestampSigner

from webapp.errors import NotAllowed
from webapp.lib.moments import utcnow
from webapp.security import signing_keys

VALID_FOR = timedelta(minutes=5)
PURPOSE = "inventory file address"


class _Signer(TimestampSigner):
    def get_timestamp(self) -> int:
        return int(utcnow().timestamp())


def _signer() -> _Signer:
    return _Signer(signing_keys(PURPOSE), salt=PURPOSE, sep=".")


def presigned_url(file_id: str, user_id: str) -> str:
    """Return the absolute address of a file, good for five minutes from now."""
    signed = _signer().sign(f"{file_id}.{user_id}").decode()
    token = signed.removeprefix(f"{file_id}.")
    return url_for("inventory_files.fetch_file", file_id=file_id, token=token, _external=True)


def check_address(file_id: str, token: str) -> str:
    """Return the id of the user an address was made for.

    Raises: NotAllowed where it was altered, or has expired at this moment
    """
    try:
        signed = f"{file_id}.{token}".encode("utf-8", "replace")
        value, signed_at = _signer().unsign(signed, return_timestamp=True)
    except BadSignature:
        sentence = "This address was altered or is incomplete. Ask for a new one."
        raise NotAllowed(sentence) from None
    # The clocks of two machines may differ a little; only an age that is over counts.
    if utcnow() - signed_at >= VALID_FOR:
        raise NotAllowed("This address has expired. Ask for a new one.")
    return value.decode().removeprefix(f"{file_id}.")
