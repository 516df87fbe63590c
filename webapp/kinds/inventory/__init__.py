"""inventory: greenhouse gas entries of a company, and the export flow that makes files of them.

`places.py` holds periods and units, `entries.py` and `ingest.py` take entries in, `compute.py` adds
them up without asking anybody, `snapshot.py` reads a report's data once, `workbooks.py`, `pdf.py`
and `documents.py` write the files, `files.py` keeps them, `signing.py` lets strangers with a signed
address fetch one. `flow_api.py` speaks as the seed's clients expect, `data_api.py` takes data in.
"""

from webapp.kinds.inventory.kind import Inventory

__all__ = ["Inventory"]
