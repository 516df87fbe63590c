"""session-activity: pings of computers to the hours of the people at them.

The service that gathers: `api.py` takes pings, `sessions.py` begins sessions and says who is
online, `ingest.py` stores pings, many requests in one transaction, `aggregate.py` joins them into
segments (`segments.py`: the statements), `compute.py` does the arithmetic without asking anybody,
`bodies.py` has what is sent and answered, `pages.py` the board and a login's history. The report:
`kind.py`, `params.py` and `report.py`, which know of the rest what `facts.py` tells them.
"""

from webapp.kinds.session_activity.kind import SessionActivity

__all__ = ["SessionActivity"]
