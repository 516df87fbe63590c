"""The stand-in inside a test: a process of its own, started and stopped by a context manager."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 5.0


@dataclass(frozen=True)
class RunningStandIn:
    """A stand-in that is up."""

    port: int
    pid: int

    @property
    def url_template(self) -> str:
        """What PARTNER_API_URL takes."""
        return f"http://127.0.0.1:{self.port}/{{namespace}}.{{data_center}}"

    def control(self, method: str, name: str, body: object = None) -> Any:
        """Return the JSON answer of a control address. Raises ValueError when it says no."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, f"/_control/{name}", data)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer

    def stats(self) -> dict[str, Any]:
        """Return the counters."""
        found: dict[str, Any] = self.control("GET", "stats")
        return found

    def searches(self) -> list[dict[str, Any]]:
        """Return the last searches, oldest first: partner, site_id, query."""
        found: list[dict[str, Any]] = self.control("GET", "searches")
        return found

    def faults(self, rules: list[dict[str, Any]]) -> None:
        """Put these fault rules in force instead of those before."""
        self.control("POST", "faults", rules)

    def settings(self, **changes: object) -> dict[str, Any]:
        """Change latency_ms, jitter_ms, rate or now; return all settings."""
        found: dict[str, Any] = self.control("POST", "settings", changes)
        return found

    def reset(self) -> None:
        """Set the counters to zero, lift all faults and undo deletions."""
        self.control("DELETE", "faults")
        self.control("POST", "reset")


@contextmanager
def running(**options: object) -> Iterator[RunningStandIn]:
    """Run a stand-in on a free port while the block lasts.

    options: the switches of the command with `_` for `-`, e.g. latency_ms=5, rate=10,
             faults=["accounts.search:html"]
    Raises: RuntimeError when it does not start
    """
    command = [sys.executable, "-m", "sandbox", "--port", "0"]
    for name, value in options.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            command += [f"--{name.replace('_', '-')}", str(one)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
    with process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if "http://" not in line:
                raise RuntimeError("The stand-in partner API did not start.")
            yield RunningStandIn(int(line.rsplit(":", 1)[1]), process.pid)
        finally:
            stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End a stand-in, gently first."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
