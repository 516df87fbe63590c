"""partner-use: accounts per site of a partner in SAP Customer Data Cloud.

Summary (count, last login, last creation per site) or month by month. `kind.py` describes the
report, `discovery.py` lists and sorts the sites, `summary.py` and `monthly.py` ask them,
`counts.py` keeps what was counted, `compute.py` makes rows out of facts without asking anybody,
`connections.py` keeps credentials.
"""

from webapp.kinds.partner_use.kind import PartnerUse

__all__ = ["PartnerUse"]
