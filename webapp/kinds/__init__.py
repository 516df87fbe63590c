"""The kinds of report this installation makes, one line a kind, in the order pages show them."""

from __future__ import annotations

from webapp.engine.kind import ReportKind
from webapp.kinds.inventory import Inventory
from webapp.kinds.label_revenue import LabelRevenue
from webapp.kinds.partner_use import PartnerUse
from webapp.kinds.project_storage import ProjectStorage
from webapp.kinds.session_activity import SessionActivity

KINDS: tuple[ReportKind, ...] = (
    PartnerUse(),
    LabelRevenue(),
    Inventory(),
    ProjectStorage(),
    SessionActivity(),
)
