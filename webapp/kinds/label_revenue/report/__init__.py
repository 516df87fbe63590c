"""The report: what each label is owed, from the facts of months.

`kind.py` is the report as the engine sees it, `payouts.py` what a month pays, `compute.py` the
money, pure, `breakdown.py` its tables, `statement.py` what a label is sent.
"""
