"""label-revenue: streams in, what each label is owed out, to the cent.

`loads.py` takes files in and undoes them, `in_force.py` works out what holds from the loads that
stand, `repeats.py` sets streams aside that stand already, `streams.py` changes single streams,
`sums.py` keeps the monthly sums, `ledger.py` is the transaction of all of them and says where
streams stand. `report/` turns `facts.py` into money, `closing.py` takes months to locked and paid.
`api.py`, `pages.py`, `payout_pages.py`, `uploads.py` and `commands.py` are its outside.
"""

from webapp.kinds.label_revenue.report.kind import LabelRevenue

__all__ = ["LabelRevenue"]
