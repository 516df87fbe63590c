"""What the tests of this room share: a worker that is known to Redis without working."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from rq import Worker
from rq.serializers import JSONSerializer

from webapp.extensions import redis_client, report_queue
from webapp.ops.workers import new_name


@pytest.fixture
def register_worker(app: Flask) -> Iterator[Callable[..., Worker]]:
    """Return a maker of workers that have said they are there; `pid` says in which process."""
    made: list[Worker] = []

    def register(pid: int | None = None) -> Worker:
        with app.app_context():
            worker = Worker(
                [report_queue()],
                name=new_name(),
                connection=redis_client(),
                serializer=JSONSerializer,
            )
        worker.pid = pid or os.getpid()
        worker.register_birth()
        made.append(worker)
        return worker

    yield register
    for worker in made:
        worker.register_death()
