"""project-storage: what projects store at which provider, kept current by file events.

`ingest.py` stores events, `counting.py` brings counters and months up to date and compares them
with events, `compute.py` says what events amount to without asking anybody, `stats.py` reads
counters for those who may see them, `api.py` and `pages.py` are the addresses, `growth.py` and
`kind.py` the report.
"""

from webapp.kinds.project_storage.kind import ProjectStorage

__all__ = ["ProjectStorage"]
