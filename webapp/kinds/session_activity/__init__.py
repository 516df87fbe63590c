"""session-activity: pings of computers to the hours of the people at them.

The service that gathers: `api.py` takes pings, `sessions.py` begins sessions and says who is
online, `ingest.py` stores pings, many requests in one transaction, `aggregate.py` joins them into
segments (`segments.py`: the statements), `compute.py` does the arithmetic without asking anybody,
`bodies.py` has what is sent, `answers.py` what is answered, `names.py` who is meant by a name,
`corrections.py` what was wrong; `pages.py` and `login_page.py` are for people. The report:
`kind.py`, `params.py`, `report.py` and `use.py`, which know of the rest what `facts.py` tells them.
"""

from webapp.kinds.session_activity.kind import SessionActivity

__all__ = ["SessionActivity"]
