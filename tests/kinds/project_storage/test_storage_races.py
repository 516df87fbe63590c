"""Several writers and counters at once: nothing is counted twice, nothing is left out."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from tests.kinds.project_storage.storage_helpers import Storage
from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.models import FileEvent, Project


def test_lists_and_counting_at_the_same_time_lose_nothing(app: Flask, owner: Storage) -> None:
    failures: list[BaseException] = []

    def send(lane: int) -> None:
        client = app.test_client()
        for number in range(6):
            events = [
                owner.event("upload", f"{lane}-{number}-{one}", "2025-01-01T00:00:00Z")
                for one in range(10)
            ]
            # Twice: the second answer names duplicates only, and nothing is counted again.
            for _ in range(2):
                path = f"/api/v1/projects/{owner.project}/file_events"
                answer = client.post(path, json=events, auth=owner.api.auth)
                assert answer.status_code == 202, answer.text

    def count() -> None:
        for _ in range(15):
            with app.app_context():
                sum(map(counting.count_project, counting.waiting_projects()))

    def guarded(work: Any, *args: Any) -> None:
        try:
            work(*args)
        except BaseException as error:
            failures.append(error)
        finally:
            with app.app_context():
                db.session.remove()

    threads = [threading.Thread(target=guarded, args=(send, lane)) for lane in range(3)]
    threads += [threading.Thread(target=guarded, args=(count,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with app.app_context():
        sum(map(counting.count_project, counting.waiting_projects()))
        key = db.session.scalar(select(Project.key))
        numbers = db.session.scalars(select(FileEvent.seq).order_by(FileEvent.seq)).all()
        assert list(numbers) == list(range(1, 181))
        assert counting.recount(key or 0, repair=False) == []
    assert owner.held() == (180, 18_000, 0, 0)


@pytest.mark.parametrize("twice", [1, 2])
def test_two_counters_at_once_count_once(app: Flask, owner: Storage, twice: int) -> None:
    owner.send([owner.event("upload", f"v{n}", "2025-01-01T00:00:00Z") for n in range(50)])
    with app.app_context():
        key = db.session.scalar(select(Project.key)) or 0
    done: list[int] = []

    def count() -> None:
        with app.app_context():
            done.append(counting.count_project(key))
            db.session.remove()

    threads = [threading.Thread(target=count) for _ in range(2 * twice)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == 50
    assert owner.held() == (50, 5000, 0, 0)
