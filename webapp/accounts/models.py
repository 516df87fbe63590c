"""Tables of this room: who exists, who belongs where, what lets a program in, what was done."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.extensions import CompanyId, Model, NewId, UserId, UtcDateTime, UuidText, kept
from webapp.lib.moments import utcnow
from webapp.security import SEALED

ROLES = ("viewer", "expert", "admin")
ACTIVE, SWITCHED_OFF, DELETED = "ACTIVE", "NO_ACCESS", "DELETED"
FORMER_MEMBER = "a former member"
_CONFIRMED = text("confined_to IS NULL")
FULL, SEND = "full", "send"


class Company(Model):
    """A tenant. `name_key` is the folded name, so that no two differ by case alone.

    second_factor: its people need one, those who sign in by a provider excepted
    timezone:      where its schedules tell the time; None: as the installation's setting says
    """

    __tablename__ = "company"

    id: Mapped[NewId]
    name: Mapped[str] = mapped_column(String(200))
    name_key: Mapped[str] = mapped_column(String(400), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    second_factor: Mapped[bool] = mapped_column(default=False)
    timezone: Mapped[str | None] = mapped_column(String(64))


class User(Model):
    """A person or program that signs in. `session_epoch` grows to end all its sessions at once.

    confined_to: the one company an account works in until its address is confirmed; then None.
                 An address has one confirmed account, and one a company that is not.
    provider_subject: who the user is at the provider of OIDC_ISSUER, as a hash
    """

    __tablename__ = "app_user"
    __table_args__ = (
        Index("uq_app_user_email_confined", "email", "confined_to", unique=True),
        Index(
            "uq_app_user_email_confirmed",
            "email",
            unique=True,
            sqlite_where=_CONFIRMED,
            postgresql_where=_CONFIRMED,
        ),
    )

    id: Mapped[NewId]
    email: Mapped[str] = mapped_column(String(254))
    password_hash: Mapped[str] = mapped_column(String(255))
    first_name: Mapped[str] = mapped_column(String(100), default="")
    last_name: Mapped[str] = mapped_column(String(100), default="")
    home_company_id: Mapped[CompanyId] = mapped_column(index=True)
    confined_to: Mapped[CompanyId | None]
    last_company_id: Mapped[UuidText | None]
    provider_subject: Mapped[str | None] = mapped_column(String(64), unique=True, index=True)
    is_operator: Mapped[bool] = mapped_column(default=False)
    session_epoch: Mapped[int] = mapped_column(default=1)
    status: Mapped[str] = mapped_column(String(20), default=ACTIVE)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)

    memberships: Mapped[list[Membership]] = relationship(back_populates="user")
    second_factor: Mapped[SecondFactor | None] = relationship(viewonly=True)
    recovery_codes: Mapped[list[RecoveryCode]] = relationship(viewonly=True)

    @property
    def shown_email(self) -> str:
        """Return the email as people see it; of a deleted account there is none."""
        return FORMER_MEMBER if self.status == DELETED else self.email

    # What Flask-Login asks; its mixin has no types.
    is_authenticated = True
    is_anonymous = False

    @property
    def is_active(self) -> bool:
        return self.status == ACTIVE

    def get_id(self) -> str:
        return self.id

    @property
    def name(self) -> str:
        """Return first and last name, or the email where none was given."""
        if self.status == DELETED:
            return FORMER_MEMBER
        return f"{self.first_name} {self.last_name}".strip() or self.email


class SecondFactor(Model):
    """The secret of a user's authenticator app, and the half minute its last code was of."""

    __tablename__ = "second_factor"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    company_id: Mapped[CompanyId]
    sealed: Mapped[str] = mapped_column(Text, info={SEALED: "second factor {user_id}"})
    last_step: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class RecoveryCode(Model):
    """What takes the place of an app's code, once."""

    __tablename__ = "recovery_code"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)


class Membership(Model):
    """One user's role in one company: viewer, expert or admin."""

    __tablename__ = "membership"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    company_id: Mapped[CompanyId] = mapped_column(primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(10))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)

    user: Mapped[User] = relationship(back_populates="memberships")
    company: Mapped[Company] = relationship()


class ApiKey(Model):
    """What lets a program in as its user, in one company. The secret itself is not kept.

    scope: `full`, or `send` for a key that may only hand in data
    """

    __tablename__ = "api_key"

    id: Mapped[NewId]
    key_id: Mapped[str] = mapped_column(String(40), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(100), default="")
    user_id: Mapped[UserId] = mapped_column(index=True)
    company_id: Mapped[CompanyId] = mapped_column(index=True)
    scope: Mapped[str] = mapped_column(String(10), default=FULL)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()

    def works_at(self, now: datetime) -> bool:
        """Return whether the key is neither revoked nor expired at that moment."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class LoginSession(Model):
    """One sign-in of a browser or a program. It holds the company worked in, the cookie does not.

    token_hash: of the refresh token; None for a browser
    api_key_id: the key a program signed in with; None after a password
    epoch:      the user's session_epoch at sign-in; the session is over when they differ
    by_provider: signed in by OpenID Connect, where the provider asks for what it asks for
    """

    __tablename__ = "login_session"

    id: Mapped[NewId]
    user_id: Mapped[UserId] = mapped_column(index=True)
    company_id: Mapped[CompanyId]
    api_key_id: Mapped[UuidText | None] = mapped_column(ForeignKey("api_key.id"), index=True)
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    epoch: Mapped[int] = mapped_column()
    by_provider: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()
    api_key: Mapped[ApiKey | None] = relationship()


class Invite(Model):
    """A link that lets one email address into one company, once."""

    __tablename__ = "invite"
    __table_args__ = (UniqueConstraint("company_id", "email"),)

    id: Mapped[NewId]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    company_id: Mapped[CompanyId]
    email: Mapped[str] = mapped_column(String(254))
    role: Mapped[str] = mapped_column(String(10))
    invited_by: Mapped[UserId] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Who opens a link that only went out by mail can read the mail of its address.
    by_mail: Mapped[bool] = mapped_column(default=False)

    company: Mapped[Company] = relationship()


class AuditEntry(Model):
    """Who did what to what, when, from where; written once and never changed."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("ix_audit_entry_company_at", "company_id", "at"),
        kept("at", "AUDIT_KEPT_DAYS"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    company_id: Mapped[CompanyId]
    user_id: Mapped[UserId | None]
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(300), default="")
    address: Mapped[str] = mapped_column(String(64), default="")

    user: Mapped[User | None] = relationship()
