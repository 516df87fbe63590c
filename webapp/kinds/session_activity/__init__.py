"""session-activity: pings of computers to the hours of the people at them.

`api.py` takes pings and answers the dashboard and the hours; `sessions.py` begins sessions and says
who is online; `ingest.py` stores pings, many requests in one transaction; `history.py` reads the
hours back; `compute.py` does the arithmetic without asking anybody; `kind.py` and `report.py` are
the kind of report, `pages.py` the dashboard and a login's history.
"""

from webapp.kinds.session_activity.kind import SessionActivity

__all__ = ["SessionActivity"]
