"""A stand-in for the partner's API: a program of its own that speaks its wire format over HTTP.

`python -m sandbox` serves it, `python -m sandbox truth PARTNER` prints what a report must find,
`sandbox.truth` gives the same as functions and `sandbox.testing` runs it inside a test. Its data
comes from a seed alone, so that its numbers are known. It imports nothing of the application.
"""
