"""project-storage: what projects store at which provider, kept current by file events.

The service that gathers: `ingest.py` stores events, `counting.py` brings counters and months up to
date and compares them with events (`tasks.py`: as jobs), `compute.py` says what events amount to
without asking anybody, `projects.py` has projects, roles and providers, `stats.py` what a user may
see, `api.py` and `pages.py` the addresses, `bodies.py` what they take and answer. The report:
`kind.py`, `params.py` and `growth.py`.
"""

from webapp.kinds.project_storage.kind import ProjectStorage

__all__ = ["ProjectStorage"]
