"""The report: what each label is owed, from the facts of months.

`kind.py` is the report as the engine sees it, `params.py` what it is asked with, `payouts.py` what
a month pays, `compute.py` the money, pure, `statement.py` a label's workbook. Of the rest of this
kind it knows `facts`, `periods` and `settings`.
"""
