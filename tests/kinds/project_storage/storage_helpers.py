"""What the tests of project storage share: a caller of its API, events, a second opinion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import select

from webapp.extensions import db
from webapp.kinds.project_storage.models import Project

COUNTED = ("active_file_versions", "active_bytes", "trash_file_versions", "trash_bytes")


@dataclass
class Storage:
    """One caller of the API, with a provider and a project at hand once they are made."""

    api: Any
    provider: str = ""
    project: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def start(self, name: str = "Mouse") -> Storage:
        """Make a provider and a project."""
        self.provider = self.make_provider("swift")
        self.project = self.make_project(name)
        return self

    def make_provider(self, name: str) -> str:
        body = {"name": name, "description": f"{name}!", "same_name": True}
        answer = self.api.post("/storage_providers", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])

    def make_project(self, name: str) -> str:
        answer = self.api.post("/projects", {"name": name, "same_name": True})
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])

    def send(self, events: list[Any], project: str = "") -> list[dict[str, Any]]:
        answer = self.api.post(f"/projects/{project or self.project}/file_events", events)
        assert answer.status_code == 202, answer.text
        return list(answer.json["results"])

    def event(self, type: str, version: str, at: str, **more: Any) -> dict[str, Any]:
        plain = {"id": str(uuid4()), "type": type, "file_version_id": version, "at": at}
        if type == "upload":
            plain |= {"bytes": 100, "storage_provider_id": self.provider}
        return plain | more

    def give(self, user_id: str, role: str, project: str = "") -> Any:
        return self.api.client.put(
            f"/api/v1/projects/{project or self.project}/permissions/{user_id}",
            json={"auth_role": {"id": role}},
            auth=self.api.auth,
        )

    def stats(self, project: str = "") -> dict[str, Any]:
        answer = self.api.get(f"/projects/{project or self.project}/stats")
        assert answer.status_code == 200, answer.text
        return dict(answer.json["stats"])

    def held(self, project: str = "") -> tuple[int, ...]:
        found = self.stats(project)
        return tuple(found[name] for name in COUNTED)


def _by_time(event: tuple[int, str, str, str, int, int]) -> tuple[int, int, str]:
    at, event_id, kind = event[:3]
    return at, ["upload", "trash", "restore", "purge"].index(kind), event_id


def plainly(events: Iterable[tuple[int, str, str, str, int, int]]) -> dict[int, tuple[int, ...]]:
    """Return what events (at, id, type, version, bytes, provider) leave at each provider.

    Written apart from the application: a slow walk through all events, a version at a time.
    """
    versions: dict[str, list[tuple[int, str, str, str, int, int]]] = {}
    for event in events:
        versions.setdefault(event[3], []).append(event)
    held: dict[int, list[int]] = {}
    for of_version in versions.values():
        state, size, provider = "none", 0, 0
        for _, _, kind, _, its_bytes, its_provider in sorted(set(of_version), key=_by_time):
            if kind == "upload":
                size, provider = its_bytes, its_provider
                held.setdefault(provider, [0, 0, 0, 0])
            if state == "purged":
                continue
            if kind == "purge":
                state = "purged"
            elif kind == "upload" or (kind == "restore" and state == "trash"):
                state = "active"
            elif kind == "trash" and state == "active":
                state = "trash"
        if state in {"active", "trash"}:
            first = 0 if state == "active" else 2
            held[provider][first] += 1
            held[provider][first + 1] += size
    return {provider: tuple(numbers) for provider, numbers in held.items()}


def project_key(project_id: str) -> int:
    found = db.session.scalar(select(Project.key).where(Project.id == project_id))
    assert found is not None
    return found


def rows_of(table: Any, key: int) -> list[Any]:
    names = [column.name for column in table.__table__.columns if column.name != "project_key"]
    query = select(*[getattr(table, name) for name in names]).where(table.project_key == key)
    return sorted(tuple(row) for row in db.session.execute(query))
