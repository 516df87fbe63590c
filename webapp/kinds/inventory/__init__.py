"""inventory: greenhouse gas entries of a company, and the export flow that makes files of them.

Gathering facts: `places.py` holds periods and units, `entries.py` checks and stores entries,
`ingest.py` says what uploaded files hold, `data_api.py` and `pages.py` are its addresses,
`bodies.py` what they are sent, `answers.py` what they answer. The report reads these facts once, in
`snapshot.py`, and asks nothing more: `compute.py` adds them up, `workbooks.py`, `pdf.py` and
`documents.py` write the files, `making.py` does all of it, `kind.py` shows it to the engine.
`flow_api.py` speaks as clients of the flow expect; `signing.py` makes addresses of files that need
no sign-in.
"""

from webapp.kinds.inventory.kind import Inventory

__all__ = ["Inventory"]
