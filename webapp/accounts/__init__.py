"""Accounts: who exists, who belongs to which company, and who may do what.

Owns companies, users, memberships, API keys, sessions and tokens, invitations and the audit log,
with their pages and addresses. Knows nothing of reports: other rooms ask `current_scope()` and get
a `Scope`, close their blueprints with `restrict`, single views with `require`, and write `audit`.
"""

from __future__ import annotations

from webapp.accounts.api import key_tokens as key_tokens
from webapp.accounts.api import new_token as new_token
from webapp.accounts.audit_log import AuditAsked as AuditAsked
from webapp.accounts.audit_log import all_entries as all_entries
from webapp.accounts.audit_log import audit as audit
from webapp.accounts.audit_log import latest_actions as latest_actions
from webapp.accounts.audit_log import read_entries as read_entries
from webapp.accounts.companies import Scope as Scope
from webapp.accounts.companies import find_company as find_company
from webapp.accounts.companies import find_or_make_company as find_or_make_company
from webapp.accounts.companies import membership_ended as membership_ended
from webapp.accounts.companies import named_company as named_company
from webapp.accounts.companies import scope_of as scope_of
from webapp.accounts.companies import zone_changed as zone_changed
from webapp.accounts.companies import zone_of as zone_of
from webapp.accounts.identity import access_ended as access_ended
from webapp.accounts.identity import check_role as check_role
from webapp.accounts.identity import current_scope as current_scope
from webapp.accounts.identity import only_sends as only_sends
from webapp.accounts.identity import require as require
from webapp.accounts.identity import require_access as require_access
from webapp.accounts.identity import restrict as restrict
from webapp.accounts.identity import sender_scope as sender_scope
from webapp.accounts.keys import authenticate_ingest_key as authenticate_ingest_key
from webapp.accounts.keys import create_key as create_key
from webapp.accounts.keys import find_key as find_key
from webapp.accounts.members import members_of as members_of
from webapp.accounts.models import ApiKey as ApiKey
from webapp.accounts.models import AuditEntry as AuditEntry
from webapp.accounts.models import Company as Company
from webapp.accounts.models import Membership as Membership
from webapp.accounts.models import User as User
from webapp.accounts.people import create_user as create_user
from webapp.accounts.people import find_user as find_user
from webapp.accounts.person import person_erasing as person_erasing
from webapp.accounts.person import person_exporting as person_exporting
from webapp.accounts.sessions import LIFETIME_S as LIFETIME_S
from webapp.accounts.setup import init_app as init_app
