"""The partner's REST API, as one careful client: session, sites, searches, pace.

Knows no Flask and no database. `session.PartnerSession` signs calls in, keeps the pace, tries again
and bounds every wait; `sites` and `searches` say what is asked and what may be believed;
`side_by_side.SideBySide` asks many sites at once.
"""
