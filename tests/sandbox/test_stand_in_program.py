"""The program: starting, stopping, its limit of searches, its counters, its truth on paper."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

import sandbox
from sandbox import truth
from sandbox.keys import KEYS
from sandbox.testing import ROOT, running
from sandbox.world import World
from tests.soon import SOON_S, soon

COUNT = "SELECT count(*) FROM accounts"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_stops_when_told(tmp_path: Path, end: int) -> None:
    file = tmp_path / "port"
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--port-file", str(file)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == f"stand-in partner API on http://127.0.0.1:{file.read_text().strip()}\n"
        process.send_signal(end)
        out, err = process.communicate(timeout=SOON_S)
        assert (process.returncode, out, err) == (0, "", "")


def test_a_hanging_caller_does_not_keep_it_from_stopping() -> None:
    with ThreadPoolExecutor(1) as pool, running(faults="*:hang") as stand_in:
        url = stand_in.url_template.format(namespace="admin", data_center="us1")
        form = {"userKey": "demo-user-key", "secret": KEYS["demo-user-key"].secret}
        lost = pool.submit(requests.post, f"{url}/admin.getUserSites", form, timeout=60)
        time.sleep(0.3)
        assert not lost.done()
        began = time.monotonic()
    assert isinstance(lost.exception(), requests.ConnectionError)
    assert time.monotonic() - began < SOON_S


def test_bad_switches_are_named() -> None:
    for switch in (["--faults", "accounts.search:boredom"], ["--now", "yesterday"]):
        done = subprocess.run(
            [sys.executable, "-m", "sandbox", "--port", "0", *switch], cwd=ROOT,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert switch[1].split(":")[-1] in done.stderr
        assert "Traceback" not in done.stderr


def test_searches_beyond_the_rate_are_refused_and_counted(call: Any) -> None:
    call.stand_in.settings(rate=10)
    site, other = truth.sites(70000001)[0], truth.sites(70000006)[0]
    codes: list[int] = []
    while codes.count(403048) < 4 and len(codes) < 1_000:
        codes.append(call.search(site, COUNT)["errorCode"])
    assert codes[:10] == [0] * 10
    assert set(codes) == {0, 403048}
    assert call.search(other, COUNT)["errorCode"] == 0
    assert call("admin.getSiteConfig", apiKey=site.api_key)["errorCode"] == 0
    stats = call.stand_in.stats()
    assert stats["refused"] == 4
    assert stats["peak_per_second"] == {"70000001": 10, "70000006": 1}
    time.sleep(1.05)
    assert call.search(site, COUNT)["errorCode"] == 0


def test_counters_tell_what_was_asked(call: Any) -> None:
    site = truth.sites(70000001)[0]
    for query in (COUNT, COUNT, "nonsense"):
        call.search(site, query)
    call("admin.getUserSites", targetPartnerID=70000001)
    stats = call.stand_in.stats()
    assert stats["requests"] == {"accounts.search": 3, "admin.getUserSites": 1}
    assert stats["errors"] == {"400006": 1}
    assert stats["searches_repeated"] == 1
    assert sum(number for _, number in stats["per_second"]) == 3
    asked = {"partner": 70000001, "site_id": site.site_id, "query": COUNT}
    assert call.stand_in.searches()[:2] == [asked, asked]
    call.stand_in.reset()
    assert call.stand_in.stats()["requests"] == {}


def test_calls_in_flight_are_counted(call: Any) -> None:
    call.stand_in.settings(latency_ms=200)
    sites = truth.sites(70000001)[3:4] * 6
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda site: call.search(site, COUNT), sites))
    assert call.stand_in.stats()["max_in_flight"] == 6


def test_the_end_of_data_can_be_moved(call: Any) -> None:
    site = truth.sites(70000001)[0]
    try:
        call.stand_in.settings(now="2025-01-01T00:00:00Z")
        then = call.search(site, COUNT)["totalCount"]
    finally:
        call.stand_in.settings(now="2026-11-15T00:00:00Z")
    assert then == truth.total_users(site, "2024-12") < truth.count(site)
    assert then == truth.count(site, world=World(now="2025-01-01T00:00:00Z"))
    for bad in ({"now": "x"}, {"latency_ms": "x"}, {"seed": 2}):
        with pytest.raises(ValueError, match=r".+"):
            call.stand_in.settings(**bad)


def test_another_seed_is_another_world() -> None:
    one, two = World(seed=1), World(seed=2)
    site = truth.sites(70000001)[0]
    assert truth.count(site, world=one) != truth.count(site, world=two)


def test_the_printed_truth_is_the_functions_truth() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "truth", "70000001", "--months", "2024-01", "2024-12"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told == truth.report(70000001, ("2024-01", "2024-12"))
    assert told["summary"]["site_count"] == 6
    assert told["summary"]["child_site_count"] == 2
    sites = [site for site in truth.sites(70000001) if not truth.is_child(site)]
    assert told["summary"]["account_count"] == sum(map(truth.count, sites))
    assert [row["month"] for row in told["months"]] == [f"2024-{m:02d}" for m in range(1, 13)]
    for row in told["months"]:
        assert row["total_users"] == sum(truth.total_users(site, row["month"]) for site in sites)


def test_counting_before_a_datetime_excludes_it() -> None:
    site = truth.sites(70000001)[0]
    newest = truth.last_created(site)
    assert newest is not None
    assert truth.count(site, newest) == truth.count(site) - 1
    assert truth.count(site, newest + timedelta(microseconds=1)) == truth.count(site)
    assert truth.count(site, datetime(2000, 1, 1, tzinfo=UTC)) == 0


def test_the_benchmark_partners_have_their_shapes() -> None:
    def gains(partner: int) -> list[int]:
        months = truth.report(partner, ("2021-11", "2026-10"))
        return [row["delta"] for site in months["sites"] for row in site["months"]]

    quiet, typical, busy = (gains(number) for number in (70000011, 70000012, 70000013))
    assert len(quiet) == len(typical) == len(busy) == 50 * 60
    assert sum(delta > 0 for delta in quiet) / 3000 < 0.05
    assert 0.17 < sum(delta > 0 for delta in typical) / 3000 < 0.23
    assert all(delta == 0 or 2000 <= delta < 5000 for delta in typical)
    assert all(delta >= 50_000 for delta in busy)


def test_five_thousand_sites_times_ten_years_are_counted_within_seconds() -> None:
    months = [f"{year}-{month:02d}" for year in range(2017, 2027) for month in range(1, 13)]
    with soon():
        world = World()
        for site in world.sites(70000005)[::10]:
            for month in months:
                truth.total_users(site, month, world=world)


def test_the_program_imports_nothing_of_the_application() -> None:
    for file in Path(sandbox.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(from|import) webapp", file.read_text(), re.MULTILINE)
