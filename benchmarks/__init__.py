"""What `make bench` runs: one file a kind, each figure a ratio against a baseline of the same run.

A file `bench_NAME.py` has `run()`, which returns rows with the members claim, measured, against,
ratio, wanted; where it takes `quick`, shorter windows and smaller data are asked for by it.
"""
