"""Partner use: how few searches, how well they fill the granted rate, what each of them costs.

Each report is made by real workers against the stand-in, whose numbers are known. What is asked is
counted by the stand-in, never by the report itself.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from benchmarks.local_stack import KEY, SECRET, Crew, LocalStack, Made, local_stack
from benchmarks.plain_way import PlainWay
from sandbox import truth
from sandbox.testing import RunningStandIn, running
from webapp.lib.months import current_month, month_end, month_text, next_month
from webapp.partner.credentials import Credentials
from webapp.partner.pace import SHARE, LocalRateLimiter
from webapp.partner.searches import count_accounts, created_between
from webapp.partner.session import PartnerSession
from webapp.partner.sites import Site

Row = dict[str, Any]
QUIET, TYPICAL, BUSY, MIXED = "70000011", "70000012", "70000013", "70000014"
SHAPES = ((QUIET, "quiet", "≤ 0.06"), (TYPICAL, "typical", "≤ 0.3"), (BUSY, "busy", "≤ 1"))
MANY_SITES, THOUSAND, LARGE = "70000002", "70000004", "70000005"
YEARS, MONTHS = 5, 60
FULL = os.environ.get("BENCH_FULL") == "1"
RATE = 10
LATENCY_MS = 40
IN_FLIGHT = 32
BEGIN_S = 60.0


def run(*, quick: bool = False) -> list[Row]:
    """Return the claims with what was measured. Shape: claim, measured, against, ratio, wanted.

    quick: shorter windows and ranges; BENCH_FULL=1 adds the large partner, an hour and more
    """
    parts: list[Callable[[LocalStack, RunningStandIn, bool], list[Row]]] = [
        searches, planner, rate, wall, cpu, warm, two_workers, plain_script,
    ]  # fmt: skip
    if FULL:
        parts.append(large)
    rows: list[Row] = []
    for part in parts:
        # A stack of its own for each, so that none finds what another has stored.
        with local_stack() as stack, running() as partner:
            rows += part(stack, partner, quick)
    return rows


def row(claim: str, measured: str, against: str, ratio: float, wanted: str) -> Row:
    """Return one row of the table."""
    return {
        "claim": claim,
        "measured": measured,
        "against": against,
        "ratio": ratio,
        "wanted": wanted,
    }


def monthly(partner_id: str, months: int = MONTHS, **more: Any) -> Row:
    """Return the parameters of a monthly report that ends with the current month."""
    end = current_month()
    start = next_month(end, 1 - months)
    span = {"start": month_text(start), "end": month_text(end)}
    return {"partner_id": partner_id, "mode": "monthly", **span, **more}


def plain_searches(partner_id: str, months: int = MONTHS) -> int:
    """Return what the plain way asks: every month of every counted site, and the one before."""
    return sum(not site.is_child for site in truth.sites(int(partner_id))) * (months + 1)


def searches(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """How many searches five years take, on three shapes of growth; and whether they are right."""
    rows, wrong, compared = [], 0, 0
    with stack.workers(partner, in_flight=IN_FLIGHT) as crew:
        for partner_id, shape, wanted in SHAPES:
            made, plain = crew.make(monthly(partner_id)), plain_searches(partner_id)
            exact = crew.make(monthly(partner_id, exact=True, refresh=True))
            if exact.searches != plain:
                raise RuntimeError(f"The plain way took {exact.searches}, not {plain} searches.")
            ours, theirs = totals(stack, made), totals(stack, exact)
            wrong += sum(one != other for one, other in zip(ours, theirs, strict=True))
            compared += len(ours)
            claim = f"searches, {YEARS} years of 50 {shape} sites, against every month of each"
            rows.append(
                row(claim, f"{made.searches:,}", f"{plain:,}", made.searches / plain, wanted)
            )
    claim = "  site months of these that differ from asking every month (exact)"
    rows.append(row(claim, f"{wrong:,}", f"{compared:,}", wrong / compared, "≤ 0"))
    return rows


def totals(stack: LocalStack, made: Made) -> list[int | None]:
    """Return every number of a monthly report, by site and month."""
    return [total for site in stack.rows(made.ids[0], "sites") for total in site["totals"]]


def planner(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """What asking little costs and saves, five years of 150 sites of all shapes."""
    partner.settings(latency_ms=LATENCY_MS)
    tries, rows = 1 if quick else 3, []
    with stack.workers(partner, in_flight=IN_FLIGHT) as crew:
        # The first run reads how the sites are set up, for all that follow.
        crew.make(summary(MIXED))
        ours, exact = (
            quickest(crew, monthly(MIXED, refresh=True, exact=one), tries) for one in (False, True)
        )
        crew.make(monthly(MIXED, refresh=True))
        read, saved = dates_read(partner), exact.searches - ours.searches
    claim = f"150 sites, 61 months, {IN_FLIGHT} in flight at {LATENCY_MS} ms, against every month"
    ratio = ours.wall_s / exact.wall_s
    rows.append(row(claim, f"{ours.wall_s:.1f} s", f"{exact.wall_s:.1f} s", ratio, "≤ 0.5"))
    ratio = ours.searches / exact.searches
    rows.append(row("  searches", f"{ours.searches:,}", f"{exact.searches:,}", ratio, "≤ 1"))
    claim = "  creation dates read, against searches saved"
    rows.append(row(claim, f"{read:,}", f"{saved:,}", read / max(saved, 1), ""))
    with stack.workers(partner, in_flight=IN_FLIGHT, per_second=RATE) as crew:
        paced = crew.make(monthly(MIXED, 12 if quick else MONTHS, refresh=True))
    claim, plain = f"  searches at {RATE} a second", plain_searches(MIXED, 12 if quick else MONTHS)
    ratio, wanted = paced.searches / plain, "" if quick else "≤ 0.11"
    rows.append(row(claim, f"{paced.searches:,}", f"{plain:,}", ratio, wanted))
    plain_s = plain / RATE
    claim = "  its time, against the time that every month takes at that pace (computed)"
    ratio = paced.wall_s / plain_s
    rows.append(row(claim, f"{paced.wall_s:.0f} s", f"{plain_s:.0f} s", ratio, "≤ 1"))
    return rows


def dates_read(partner: RunningStandIn) -> int:
    """Return how many creation dates the last searches brought, by the stand-in's own numbers."""
    sites, rows = {site.site_id: site for site in truth.sites(int(MIXED))}, 0
    for asked in partner.searches():
        if limit := re.search(r"LIMIT (\d+)$", asked["query"]):
            moments = {
                sign: truth.count(sites[asked["site_id"]], datetime.fromisoformat(moment))
                for sign, moment in re.findall(r'created (>=|<) "([^"]+)"', asked["query"])
            }
            rows += min(int(limit[1]), moments["<"] - moments.get(">=", 0))
    return rows


def rate(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """How much of the granted rate a report uses, near and far, and two at once in two workers."""
    window_s = 10 if quick else 60
    partner.settings(rate=RATE)
    rows = []
    for number, latency_ms, in_flight, whose in (
        (1, 40, 8, "one report"),
        # 8 in flight could fill half of it; the bound is the operator's to raise.
        (1, 1500, IN_FLIGHT, f"one report, the partner slow (1.5 s), up to {IN_FLIGHT} in flight"),
        (2, 40, 8, "two reports in two workers"),
    ):
        partner.settings(latency_ms=latency_ms)
        stack.forget_shared()  # a refusal halves the pace for a minute, of whoever comes next too
        with stack.workers(partner, number, in_flight=in_flight, per_second=RATE) as crew:
            reports = [monthly(BUSY, exact=True, refresh=True), summary(BUSY)][:number]
            with stalls() as worst_s:
                asked, refused = over_a_window(crew, reports, window_s)
        claim = f"searches in {window_s} s by {whose}, against the {RATE}/s granted"
        most = RATE * window_s
        rows.append(row(claim, f"{asked:,}", f"{most:,}", asked / most, "≥ 0.95"))
        claim = "  of these refused by the partner for coming too fast"
        rows.append(row(claim, f"{refused:,}", f"{asked:,}", refused / max(asked, 1), "≤ 0"))
        claim = "  longest this machine let a sleeper wait, against what the pace allows for"
        spare_s = 1 / SHARE - 1
        ratio = worst_s[0] / spare_s
        rows.append(
            row(claim, f"{worst_s[0] * 1000:.0f} ms", f"{spare_s * 1000:.0f} ms", ratio, "")
        )
    return rows


@contextmanager
def stalls() -> Iterator[list[float]]:
    """Look, while the block lasts, how late a sleeper is woken at worst (seconds).

    A call that leaves or arrives so late moves closer to those after it, and a strict limiter
    counts one too many: such a refusal says something of the machine, not of the pace.
    """
    worst, over = [0.0], threading.Event()

    def sleep() -> None:
        while not over.is_set():
            wakes = time.monotonic() + 0.01
            time.sleep(0.01)
            worst[0] = max(worst[0], time.monotonic() - wakes)

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    try:
        yield worst
    finally:
        over.set()
        sleeper.join()


def over_a_window(crew: Crew, reports: list[Row], window_s: int) -> tuple[int, int]:
    """Return how many searches were admitted within the window, and how many refused at all."""
    crew.partner.control("POST", "reset")
    ids = [crew.stack.start(params) for params in reports]
    ends = time.monotonic() + BEGIN_S
    while not (seconds := crew.partner.stats()["per_second"]):
        if time.monotonic() > ends:
            raise RuntimeError("The report asks nothing.")
        time.sleep(0.1)
    first = seconds[0][0] + 1  # its first second is not a whole one
    while (stats := crew.partner.stats())["seconds"] < first + window_s + 0.5:
        time.sleep(0.2)
    for one in ids:
        crew.stack.cancel(one)
    crew.idle()
    asked = sum(n for second, n in stats["per_second"] if first <= second < first + window_s)
    return asked, stats["refused"]


def summary(partner_id: str) -> Row:
    """Return the parameters of a summary."""
    return {"partner_id": partner_id, "mode": "summary"}


def wall(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """How close a report comes to its bound where the partner sets no limit.

    The stand-in is one process, and making 5,000 dates costs it more than waiting 40 ms: where its
    own CPU is more than the latencies, that is the bound.
    """
    partner.settings(latency_ms=LATENCY_MS)
    rows, tries = [], 1 if quick else 3
    with stack.workers(partner, in_flight=IN_FLIGHT) as crew:
        for what, params in (
            ("every month of 50 sites", monthly(BUSY, exact=True, refresh=True)),
            ("five years of 50 typical sites", monthly(TYPICAL, refresh=True)),
            ("a summary of 200 sites", {**summary(MANY_SITES), "refresh": True}),
        ):
            made = quickest(crew, params, tries)
            latencies_s = made.requests * LATENCY_MS / 1000 / IN_FLIGHT
            bound_s, of = latencies_s, f"requests × {LATENCY_MS} ms ÷ {IN_FLIGHT} in flight"
            if made.partner_cpu_s > latencies_s:
                bound_s, of = made.partner_cpu_s, "the stand-in's own CPU"
            claim, ratio = f"wall, {what}, against {of}", made.wall_s / bound_s
            rows.append(row(claim, f"{made.wall_s:.1f} s", f"{bound_s:.1f} s", ratio, "≤ 1.3"))
        made = quickest(crew, monthly(BUSY, exact=True, refresh=True), tries)
    bare_s = min(bare_threads_s(partner, made.searches) for _ in range(tries))
    claim = f"  every month of 50 sites, against {IN_FLIGHT} threads that do nothing but post"
    ratio = made.wall_s / bare_s
    rows.append(row(claim, f"{made.wall_s:.1f} s", f"{bare_s:.1f} s", ratio, ""))
    return rows


def bare_threads_s(partner: RunningStandIn, number: int) -> float:
    """Return the seconds that threads of this process need for as many counts, nothing kept."""
    site = truth.sites(int(BUSY))[0]
    local = threading.local()

    def ask(_: int) -> object:
        if not hasattr(local, "ask"):
            local.ask = plain_count(partner, site)
        return local.ask()

    began = time.monotonic()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for _ in pool.map(ask, range(number)):
            pass
    return time.monotonic() - began


def quickest(crew: Crew, params: Row, tries: int) -> Made:
    """Return the quickest of some runs: what else the machine does only ever slows one down."""
    return min((crew.make(params) for _ in range(tries)), key=lambda made: made.wall_s)


def cpu(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """What a request costs the worker, all of a report's work shared out; and a read by itself."""
    partner.settings(latency_ms=LATENCY_MS)
    with stack.workers(partner, in_flight=8) as crew:
        params = monthly(BUSY, exact=True, refresh=True)
        runs = [crew.make(params) for _ in range(1 if quick else 3)]
        mixed = crew.make(monthly(TYPICAL, refresh=True))
    ours_ms = min(made.cpu_s / made.requests for made in runs) * 1000
    mixed_ms = mixed.cpu_s / mixed.requests * 1000
    partner.settings(latency_ms=0)
    site = truth.sites(int(BUSY))[0]
    times = 100 if quick else 500
    plain_ms = cpu_ms(plain_count(partner, site), times)
    with partner_session(partner) as session:
        one = Site(str(site.site_id), site.api_key, site.name, site.data_center)
        end, start = _moments()
        count_ms = cpu_ms(lambda: session.ask(count_accounts(one, end)), times)
        read_ms = cpu_ms(lambda: session.ask(created_between(one, start, end)), times // 10)
    plain_read_ms = cpu_ms(plain_read(partner, site), times // 10)
    return [
        row("CPU a request, a report of counts, all its work shared out",
            f"{ours_ms:.2f} ms", "1 ms", ours_ms, "≤ 1"),
        row("  a count by itself, against requests.post() and .json()",
            f"{count_ms:.2f} ms", f"{plain_ms:.2f} ms", count_ms / plain_ms, "≤ 1"),
        row("  a read of 5,000 creation dates, against requests.post() and .json()",
            f"{read_ms:.2f} ms", f"{plain_read_ms:.2f} ms", read_ms / plain_read_ms, ""),
        row("CPU a request, typical sites: two searches in three read dates",
            f"{mixed_ms:.2f} ms", "1 ms", mixed_ms, ""),
    ]  # fmt: skip


def _moments() -> tuple[Any, Any]:
    month = next_month(current_month(), -6)
    return month_end(month), month_end(next_month(month, -1))


def cpu_ms(work: Callable[[], object], times: int) -> float:
    """Return the milliseconds of this process' CPU that one call takes, after a few to warm up."""
    for _ in range(5):
        work()
    before = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - before) / times * 1000


@contextmanager
def partner_session(partner: RunningStandIn) -> Iterator[PartnerSession]:
    """Open the product's own conversation with the stand-in."""
    with PartnerSession(
        Credentials(KEY, SECRET),
        url_template=partner.url_template,
        search_pace=LocalRateLimiter(0),
        call_pace=LocalRateLimiter(0),
    ) as session:
        yield session


def plain_count(partner: RunningStandIn, site: truth.Site) -> Callable[[], object]:
    """Return a function that asks for one count as a script would."""
    script = PlainWay(partner.url_template, KEY, SECRET)
    query = 'SELECT count(*) FROM accounts WHERE created < "2026-06-01T00:00:00.000Z"'
    return lambda: script.call(
        "accounts.search", site.data_center, apiKey=site.api_key, query=query
    )


def plain_read(partner: RunningStandIn, site: truth.Site) -> Callable[[], object]:
    """Return a function that reads 5,000 creation dates as a script would, dates left as text."""
    script = PlainWay(partner.url_template, KEY, SECRET)
    query = (
        'SELECT created FROM accounts WHERE created >= "2026-05-01T00:00:00.000Z"'
        " ORDER BY created LIMIT 5000"
    )
    return lambda: script.call(
        "accounts.search", site.data_center, apiKey=site.api_key, query=query
    )


def warm(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """What the same report costs a second time."""
    partner.settings(latency_ms=LATENCY_MS)
    with stack.workers(partner) as crew:
        first = crew.make(monthly(TYPICAL))
        stack.forget_shared()
        again = crew.make(monthly(TYPICAL))
    current = plain_searches(TYPICAL, 0)
    return [
        row("searches of the same report again, against the current month of each site",
            f"{again.searches:,}", f"{current:,}", again.searches / current, "≤ 1"),
        row("  against its first time",
            f"{again.searches:,}", f"{first.searches:,}", again.searches / first.searches, ""),
        row(f"  wall against its first time, {LATENCY_MS} ms, 8 in flight",
            f"{again.wall_s:.1f} s", f"{first.wall_s:.1f} s", again.wall_s / first.wall_s, ""),
    ]  # fmt: skip


def two_workers(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """How long two reports take in two workers."""
    partner.settings(latency_ms=LATENCY_MS)
    months = 12 if quick else MONTHS
    reports = [monthly(one, months, exact=True, refresh=True) for one in (TYPICAL, BUSY)]
    walls_s = []
    for number in (1, 2):
        with stack.workers(partner, number) as crew:
            walls_s.append(crew.make(*reports).wall_s)
    one_s, two_s = walls_s
    claim = f"two reports in two workers, against one worker, {LATENCY_MS} ms, 8 in flight each"
    return [row(claim, f"{two_s:.1f} s", f"{one_s:.1f} s", two_s / one_s, "≤ 0.6")]


def plain_script(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """How long a summary of 200 sites takes, against the script of the original request."""
    partner.settings(latency_ms=50)
    script = PlainWay(partner.url_template, KEY, SECRET)
    began = time.monotonic()
    plain = script.summary(MANY_SITES)
    plain_s = time.monotonic() - began
    rows = []
    for in_flight in (8, 32):
        with stack.workers(partner, in_flight=in_flight) as crew:
            made = crew.make({**summary(MANY_SITES), "refresh": True})
        found = sum(one["account_count"] or 0 for one in stack.rows(made.ids[0], "sites"))
        if found != plain.account_count:
            raise RuntimeError(f"The script counts {plain.account_count}, the report {found}.")
        claim = f"summary of 200 sites at 50 ms, {in_flight} in flight, against one call at a time"
        ratio = made.wall_s / plain_s
        rows.append(row(claim, f"{made.wall_s:.1f} s", f"{plain_s:.1f} s", ratio, ""))
    return rows


def large(stack: LocalStack, partner: RunningStandIn, quick: bool) -> list[Row]:
    """What 5,000 sites by 120 months take of a worker's memory, and of searches."""
    with stack.workers(partner, in_flight=IN_FLIGHT) as crew:
        made = crew.make(monthly(LARGE, 120), time_limit_s=7200)
        stack.forget_shared()
        again = crew.make(monthly(LARGE, 120))
    plain = plain_searches(LARGE, 120)
    granted_h, plain_h = made.searches / RATE / 3600, plain / RATE / 3600
    return [
        row("memory of a worker, 5,000 sites by 120 months, at its peak",
            f"{made.peak_mb:.0f} MB", "300 MB", made.peak_mb / 300, "≤ 1"),
        row("  made again, all but the current month stored",
            f"{again.peak_mb:.0f} MB", "300 MB", again.peak_mb / 300, "≤ 1"),
        row("  searches of that report, against every month of each site",
            f"{made.searches:,}", f"{plain:,}", made.searches / plain, "≤ 1"),
        row(f"  hours that takes at the granted {RATE}/s, computed",
            f"{granted_h:.1f} h", f"{plain_h:.1f} h", granted_h / plain_h, ""),
        row("  wall without latency or limit, against the CPU its worker used",
            f"{made.wall_s:.0f} s", f"{made.cpu_s:.0f} s", made.wall_s / made.cpu_s, ""),
    ]  # fmt: skip
