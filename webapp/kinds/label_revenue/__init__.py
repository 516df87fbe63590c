"""label-revenue: streams in, what each label is owed out, to the cent.

`kind.py` is the report; `compute.py` the money, pure; `ingest.py` loads files (`one_load.py` is
one load), `streams.py` changes single streams, `sums.py` keeps the monthly sums both move,
`payouts.py` turns them into the lines of a month (`month_payout.py`), `locks.py` knows which of
them stay as they are; `api.py`, `pages.py`, `uploads.py` and `commands.py` are its addresses,
pages and commands.
"""

from webapp.kinds.label_revenue.kind import LabelRevenue

__all__ = ["LabelRevenue"]
