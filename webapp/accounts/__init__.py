"""Accounts: who exists, who belongs to which company, and who may do what.

Owns companies, users, memberships, API keys, sessions and tokens, invitations and the audit log,
with their pages and addresses. Knows nothing of reports: other rooms ask `current_scope()` and get
a `Scope`, close their blueprints with `restrict`, single views with `require`, and write `audit`.
"""

from __future__ import annotations

from webapp.accounts.api import key_tokens, new_token
from webapp.accounts.audit_log import AuditAsked, all_entries, audit, latest_actions, read_entries
from webapp.accounts.companies import (
    Scope,
    find_company,
    find_or_make_company,
    membership_ended,
    named_company,
    scope_of,
    zone_changed,
    zone_of,
)
from webapp.accounts.identity import (
    access_ended,
    check_role,
    current_scope,
    only_sends,
    require,
    require_access,
    restrict,
    sender_scope,
)
from webapp.accounts.keys import authenticate_ingest_key, create_key, find_key
from webapp.accounts.members import members_of
from webapp.accounts.models import ApiKey, AuditEntry, Company, Membership, User
from webapp.accounts.people import create_user, find_user
from webapp.accounts.person import erasing as person_erasing
from webapp.accounts.person import exporting as person_exporting
from webapp.accounts.sessions import LIFETIME_S
from webapp.accounts.setup import init_app

__all__ = [
    "LIFETIME_S",
    "ApiKey",
    "AuditAsked",
    "AuditEntry",
    "Company",
    "Membership",
    "Scope",
    "User",
    "access_ended",
    "all_entries",
    "audit",
    "authenticate_ingest_key",
    "check_role",
    "create_key",
    "create_user",
    "current_scope",
    "find_company",
    "find_key",
    "find_or_make_company",
    "find_user",
    "init_app",
    "key_tokens",
    "latest_actions",
    "members_of",
    "membership_ended",
    "named_company",
    "new_token",
    "only_sends",
    "person_erasing",
    "person_exporting",
    "read_entries",
    "require",
    "require_access",
    "restrict",
    "scope_of",
    "sender_scope",
    "zone_changed",
    "zone_of",
]
