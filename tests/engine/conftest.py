"""Fixtures of this room: an application with one small kind, and real workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import SECRET_KEY, add_people
from tests.engine.engine_helpers import Steps

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def steps(make_app: Callable[..., Flask]) -> Flask:
    """Return an application with the people whose only kind is Steps."""
    app = make_app(report_kinds=(Steps(),))
    add_people(app)
    return app


@pytest.fixture
def start_worker(app: Flask, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a maker of real workers (`worker.py`) on this test's queue, each its own group."""
    made: list[subprocess.Popen[bytes]] = []
    config = app.config

    def make(**settings: Any) -> subprocess.Popen[bytes]:
        kept = {name: str(config[name]) for name in (
            "DATA_DIR", "DATABASE_URL", "REDIS_URL", "QUEUE", "PARTNER_API_URL", "LEASE_SECONDS",
            "MAX_ATTEMPTS", "PARTNER_SEARCHES_PER_SECOND", "PARTNER_CALLS_PER_SECOND",
            "PARTNER_CONCURRENCY",
        )}  # fmt: skip
        env = os.environ | kept | {"SECRET_KEY": SECRET_KEY} | settings
        log = (tmp_path / f"worker-{len(made)}.log").open("wb")
        with log:
            made.append(
                subprocess.Popen(
                    [sys.executable, str(ROOT / "worker.py")],
                    cwd=ROOT,
                    env=env,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        return made[-1]

    yield make
    for worker in made:
        kill_group(worker)


def kill_group(worker: subprocess.Popen[bytes]) -> None:
    """End a worker and its work-horse at once, as a machine that goes away does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(60)
