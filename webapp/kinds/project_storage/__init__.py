"""project-storage: what projects store at which provider, kept current by file events.

The service that gathers: `ingest.py` stores events (`baseline.py`: a file of what stands),
`counting.py` brings counters and months up to date and compares them with events (`tasks.py`: as
jobs), `compute.py` says what events amount to without asking anybody, `projects.py` has projects,
roles and providers, `stats.py` what a user may see, `overview.py` what managers ask of it. The
addresses: `api.py` and `project_api.py`, with what they take (`bodies.py`) and answer
(`answers.py`); `pages.py` and `manage_pages.py`. The report: `kind.py`, `params.py`, `growth.py`.
"""

from webapp.kinds.project_storage.kind import ProjectStorage

__all__ = ["ProjectStorage"]
