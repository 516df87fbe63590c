"""The partner's error codes as data: what to do about each, and what to tell the reader.

Source: partner guide, "Codes this tool can meet". All our calls read, so trying again is safe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

ALL_TRIES = 1_000
FEW_TRIES = -1
ONE_TRY = 1

Kind = Literal["unavailable", "refused", "contract"]


@dataclass(frozen=True)
class Rule:
    """What an error code means here.

    kind:            which error is raised in the end
    tries:           how often the call is made in all (ALL_TRIES: what the limits allow)
    aborts_run:      no other site will fare better: the run ends
    aborts_first:    the same, but only on the first call (the list of sites)
    throttles:       the partner asks for fewer calls
    retry_elsewhere: once, the other data centre may know better
    extend_timeout:  the search gets a larger timeout of the partner
    """

    sentence: str
    kind: Kind = "refused"
    tries: int = ONE_TRY
    aborts_run: bool = False
    aborts_first: bool = False
    throttles: bool = False
    retry_elsewhere: bool = False
    extend_timeout: bool = False


_SECRET = Rule(
    "The partner's API refuses the user secret: check that it belongs to this user key.",
    aborts_run=True,
)
_LATE = Rule("The partner's API says the request came too late or too early.")
_KEY = Rule(
    "The partner's API does not know the user key: check the key, and that the home data centre "
    "(PARTNER_HOME_DATA_CENTER) is the one it was made in.",
    aborts_first=True,
)
_LOCKED = Rule(
    "The account of this user key is locked: ask the partner to unlock it.", aborts_run=True
)
_OUR_FAULT = Rule(
    "The partner's API cannot read this program's request: report this with the call's number.",
)
_RIGHTS = Rule(
    "The user key may not do this: ask the partner's administrator for the rights of "
    "admin.getUserSites, admin.getSiteConfig and accounts.search; a deleted site answers so too.",
)
_NO_STORE = Rule("This site has no account store (accounts are not switched on for it).")
_NO_SITE = Rule(
    "The partner's API does not know this site's API key in this data centre; it may have been "
    "deleted or belong to another console.",
    retry_elsewhere=True,
)
_MOVED = Rule(
    "This site is served by another data centre, and the partner names none this program knows.",
    retry_elsewhere=True,
)
_UNEXPECTED = Rule("The partner's API gives an answer this call should never get.", kind="contract")
_TOO_FAST = Rule(
    "The partner's API is asked too often and refuses calls: try again later, or lower "
    "PARTNER_SEARCHES_PER_SECOND.",
    kind="unavailable",
    tries=ALL_TRIES,
    throttles=True,
)
_TROUBLE = Rule(
    "The partner's API has an internal error: try again later.",
    kind="unavailable",
    tries=ALL_TRIES,
)
_TROUBLE_FEW = replace(_TROUBLE, tries=FEW_TRIES)
_SLOW_SEARCH = Rule(
    "The search takes the partner longer than it allows: try again at a quieter time.",
    kind="unavailable",
    tries=ALL_TRIES,
    extend_timeout=True,
)

_BY_RULE: tuple[tuple[Rule, tuple[int, ...]], ...] = (
    (_MOVED, (301001,)),
    (replace(_OUR_FAULT, aborts_first=True), (400001, 400002)),
    (
        Rule("The partner's API cannot use a value it was sent.", aborts_first=True),
        (400004, 400006),
    ),
    (_OUR_FAULT, (400009, *range(400020, 400028), 413001)),
    (_NO_SITE, (400093,)),
    (Rule("The partner's API does not support this call for this site."), (400096,)),
    (_RIGHTS, (403011, 403012, 403023, 403026)),
    (replace(_RIGHTS, aborts_first=True), (403000, 403007)),
    (_LATE, (403002,)),
    (_SECRET, (403003, 403010, 403025)),
    (replace(_OUR_FAULT, tries=2), (403004,)),
    (_KEY, (403005,)),
    (replace(_OUR_FAULT, aborts_run=True), (403006, 405001)),
    (_NO_STORE, (403036, 403045)),
    (_TOO_FAST, (403048, 409030)),
    (_LOCKED, (403120,)),
    (Rule("The partner's API does not find what was asked for."), (404000, 404004)),
    (_TROUBLE, (100001, 500000, 500026, 500033, 500034, 503001, 504002)),
    (_TROUBLE_FEW, (500001,)),
    (replace(_TROUBLE, retry_elsewhere=True), (500028,)),
    (_SLOW_SEARCH, (504001,)),
)
RULES = {code: rule for rule, codes in _BY_RULE for code in codes}


def rule_of(code: int) -> Rule:
    """Return what a code means; unknown ones go by their first digit, as HTTP's do."""
    by_digit = {4: Rule("The partner's API refuses this call."), 5: _TROUBLE_FEW}
    return RULES.get(code) or by_digit.get(code // 100_000, _UNEXPECTED)
