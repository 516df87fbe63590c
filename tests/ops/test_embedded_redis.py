"""The embedded Redis: where it listens, and what it clears when it starts."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis
from rq import Worker
from rq.job import Job

from webapp.data_dir import embedded_redis_url
from webapp.errors import ReportError
from webapp.extensions import redis_client, report_queue
from webapp.ops import embedded_redis


def wait(report_id: str) -> None:
    """A job that is never run."""


def test_the_socket_lies_in_the_data_folder() -> None:
    url = embedded_redis_url(Path("/srv/stack data"))
    assert embedded_redis.socket_path(url) == Path("/srv/stack data/redis/redis.sock")


def test_a_url_with_odd_letters_is_read_as_it_was_written() -> None:
    url = embedded_redis_url(Path("/srv/50% #1?"))
    connection = Redis.from_url(url).connection_pool.connection_kwargs
    assert connection["path"] == "/srv/50% #1?/redis/redis.sock"


def test_a_long_data_folder_gets_a_short_socket_and_always_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    url = embedded_redis_url(deep)
    assert len(str(embedded_redis.socket_path(url))) < 104
    assert embedded_redis_url(deep) == url
    assert embedded_redis_url(deep / "z") != url


def test_its_folders_are_its_owners_alone(tmp_path: Path) -> None:
    program = embedded_redis.program(embedded_redis_url(tmp_path), tmp_path)
    assert program.stops_last
    for folder in (tmp_path / "redis", *(tmp_path / "redis").iterdir()):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_somebody_prepared_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "redis").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReportError, match="belongs to another user"):
        embedded_redis.program(embedded_redis_url(tmp_path), tmp_path)


def test_without_a_redis_of_the_machine_the_package_brings_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert embedded_redis.find_binary().name == "valkey-server"


def test_what_dead_workers_left_is_cleared(
    app: Flask, register_worker: Callable[..., Worker]
) -> None:
    with app.app_context():
        queue = report_queue()
        job = queue.enqueue(wait, "some report")
    worker = register_worker()
    worker.prepare_execution(job)
    worker.prepare_job_execution(job)
    assert job.get_status(refresh=True) == "started"
    embedded_redis.forget_dead_workers(app)
    assert Job.fetch(job.id, connection=redis_client(app)).get_status(refresh=True) == "failed"
    assert Worker.all(queue=queue) == []
