"""A second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes.

The app's secret is kept sealed, recovery codes as hashes; each code works once. Programs are asked
for none: their keys are secrets already.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

import pyotp
from pyotp.utils import strings_equal
from sqlalchemy import CursorResult, delete, update

from webapp.accounts.audit_log import audit
from webapp.accounts.keys import hash_secret
from webapp.accounts.limits import count_code, forget_codes
from webapp.accounts.models import RecoveryCode, SecondFactor, User
from webapp.accounts.sessions import end_all_sessions
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.security import SealBroken, seal, unseal

NAME = "Partner Use Report"
STEP_S = 30
# Nothing in them is mistaken for something else; 16 of them are 79 bits.
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
RECOVERY_CODES = 10
WRONG = "This code is wrong, or was used before. Each works once; wait for the next one."


def address_of(secret: str, user: User) -> str:
    """Return the `otpauth:` address that an app reads from the picture."""
    return pyotp.TOTP(secret, name=user.email, issuer=NAME).provisioning_uri()


def turn_on(user: User, secret: str, code: str) -> list[str]:
    """Keep a secret whose code was typed, and return new recovery codes; the caller commits.

    Every session ends: those from before have shown no second factor.
    Raises: TooMany, InvalidParams
    """
    count_code(user)
    step = _step_of(secret, _plain(code))
    if step is None:
        raise InvalidParams({"code": WRONG})
    turn_off(user)
    row = SecondFactor(
        user_id=user.id, company_id=user.home_company_id, sealed=seal(secret), last_step=step
    )
    db.session.add(row)
    forget_codes(user)
    return new_recovery_codes(user)


def turn_off(user: User) -> None:
    """Forget the secret and the recovery codes, and end every session; the caller commits."""
    for table in (RecoveryCode, SecondFactor):
        db.session.execute(delete(table).where(table.user_id == user.id))
    db.session.expire(user, ["second_factor"])
    end_all_sessions(user)


def new_recovery_codes(user: User) -> list[str]:
    """Return fresh codes, which nobody can show again; the ones before end. The caller commits."""
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = [
        "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(4))
        for _ in range(RECOVERY_CODES)
    ]
    db.session.add_all(
        RecoveryCode(user_id=user.id, code_hash=hash_secret(_plain(code))) for code in codes
    )
    return codes


def take_code(user: User, typed: str) -> None:
    """Take a code of the app, or a recovery code, so that it works no second time. Commits.

    Raises: TooMany, InvalidParams
    """
    count_code(user)
    code = _plain(typed)
    step = None
    # Where SECRET_KEY was lost, recovery codes work all the same.
    with suppress(SealBroken):
        step = _step_of(unseal(user.second_factor.sealed), code) if user.second_factor else None
    newer = update(SecondFactor).where(
        SecondFactor.user_id == user.id, SecondFactor.last_step < (step or 0)
    )
    used = delete(RecoveryCode).where(
        RecoveryCode.user_id == user.id, RecoveryCode.code_hash == hash_secret(code)
    )
    # Of two who send the same code at once only one matches a row.
    if _rows(db.session.execute(newer.values(last_step=step or 0))):
        forget_codes(user)
    elif _rows(db.session.execute(used)):
        forget_codes(user)
        audit(user, "recovery code used")
    else:
        audit(user, "second factor failed")
        db.session.commit()
        raise InvalidParams({"code": WRONG})
    db.session.commit()


def _rows(result: object) -> int:
    assert isinstance(result, CursorResult)  # what a change of rows returns
    return result.rowcount


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()


def _step_of(secret: str, code: str) -> int | None:
    """Return which half minute a code is of: this one, the one before or the next."""
    now = int(utcnow().timestamp()) // STEP_S
    totp = pyotp.TOTP(secret)
    found = (
        step for step in (now, now - 1, now + 1) if strings_equal(totp.generate_otp(step), code)
    )
    return next(found, None)
