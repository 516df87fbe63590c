"""Presigned addresses: whoever holds one may fetch one file, for five minutes, without signing in.

The signature covers the file, the end and the user who asked, under a key of this purpose alone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta

from flask import url_for

from webapp.lib.moments import utcnow
from webapp.security import derived_key, secret_keys

VALID_FOR = timedelta(minutes=5)
PURPOSE = "inventory file address"


def presigned_url(file_id: str, user_id: str) -> str:
    """Return the absolute address of a file, good for five minutes from now."""
    expires = str(int((utcnow() + VALID_FOR).timestamp()))
    signature = _signature(secret_keys()[0], file_id, user_id, expires)
    return url_for(
        "inventory_files.fetch_file",
        file_id=file_id,
        user=user_id,
        expires=expires,
        signature=signature,
        _external=True,
    )


def problem_with(file_id: str, args: Mapping[str, str]) -> str | None:
    """Return what is wrong with an address, None where it is good at this moment."""
    user_id, expires = args.get("user", ""), args.get("expires", "")
    given = args.get("signature", "").encode("utf-8", "replace")
    right = [
        hmac.compare_digest(_signature(key, file_id, user_id, expires).encode(), given)
        for key in secret_keys()
    ]
    if not any(right):
        return "This address was altered or is incomplete. Ask for a new one."
    if int(expires) <= utcnow().timestamp():
        return "This address has expired. Ask for a new one."
    return None


def _signature(secret_key: str, file_id: str, user_id: str, expires: str) -> str:
    text = f"{file_id}\n{user_id}\n{expires}".encode("utf-8", "replace")
    return hmac.new(derived_key(secret_key, PURPOSE), text, hashlib.sha256).hexdigest()
