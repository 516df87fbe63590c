"""The files an operator deploys with say what the handbook says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.servers import free_port
from tests.soon import until
from webapp.config import Settings
from webapp.intake.pages import MOST_BYTES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def test_compose_has_every_part_and_runs_migrations_first(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"web", "worker", "janitor", "migrate", "postgres", "redis"}
    for name in ("web", "worker", "janitor"):
        wait = services[name]["depends_on"]
        assert wait["migrate"] == {"condition": "service_completed_successfully"}
        assert wait["redis"] == {"condition": "service_healthy"}
    assert services["migrate"]["command"] == ["flask", "db", "upgrade"]
    assert services["migrate"]["restart"] == "no"
    # The server that sets up a new volume listens on a socket alone; migrations would not find it.
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert "127.0.0.1" in services["postgres"]["healthcheck"]["test"]


def test_compose_keeps_the_queue(compose: dict[str, Any]) -> None:
    command = " ".join(compose["services"]["redis"]["command"])
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command


def test_compose_lets_nobody_but_the_application_reach_what_it_keeps(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    assert compose["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert services[name]["networks"] == ["inside"]
        assert "ports" not in services[name]
    assert services["redis"]["command"][:2] == ["redis-server", "/run/secrets/redis_conf"]
    assert "POSTGRES_USER" not in services["postgres"]["environment"]
    role = (ROOT / "deploy" / "postgres-role.sql").read_text()
    assert "CREATE ROLE reports LOGIN PASSWORD" in role
    assert "SUPERUSER" not in role


def test_compose_bounds_memory_processes_and_the_scratch_folder(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert {"mem_limit", "pids_limit"} <= service.keys(), name
        assert all("size=" in one for one in service.get("tmpfs", [])), name


def test_every_image_is_pinned_by_tag_and_digest(compose: dict[str, Any]) -> None:
    images = [one["image"] for one in compose["services"].values() if "build" not in one]
    images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.M)
    assert len(images) == 4
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+[^@]*@sha256:[0-9a-f]{64}", image), image


def test_compose_sets_only_settings_that_exist(compose: dict[str, Any]) -> None:
    for name in ("web", "worker", "janitor", "migrate"):
        for variable in compose["services"][name]["environment"]:
            assert variable.removesuffix("_FILE") in Settings.model_fields


def test_every_setting_reaches_every_container_and_the_hosts_port_does_not(
    compose: dict[str, Any],
) -> None:
    for name in ("web", "worker", "janitor", "migrate"):
        service = compose["services"][name]
        assert {"path": ".env", "required": False} in service["env_file"]
        # What is set here goes before .env: only what differs inside, or comes from it anyway.
        fixed = {
            variable
            for variable, value in service["environment"].items()
            if not str(value).startswith("${") and not variable.endswith("_FILE")
        }
        assert fixed == {"DATA_DIR", "HOST", "PORT"}
        assert service["environment"]["PORT"] == "8000"


def test_the_number_of_workers_is_kept(compose: dict[str, Any]) -> None:
    assert compose["services"]["worker"]["deploy"]["replicas"] == "${WORKERS:-2}"


def test_workers_and_janitor_are_looked_after(compose: dict[str, Any]) -> None:
    for name in ("worker", "janitor"):
        check = compose["services"][name]["healthcheck"]["test"]
        assert check == ["CMD", "flask", "health", name]


def test_the_proxy_of_the_handbook_lets_the_largest_upload_through() -> None:
    limit = re.search(
        r"client_max_body_size (\d+)g;", (ROOT / "docs/operations.md").read_text("utf-8")
    )
    assert limit
    assert int(limit[1]) * 1024**3 >= MOST_BYTES


def test_every_secret_is_a_file_that_git_ignores(compose: dict[str, Any]) -> None:
    used = {name for service in compose["services"].values() for name in service.get("secrets", [])}
    assert used == set(compose["secrets"])
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_image_runs_as_nobody_special_with_checked_packages() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in dockerfile
    assert "\nUSER app\n" in dockerfile


def may_run_as(uid: int) -> bool:
    """Say whether that user may run this Python and what it has; only root may try."""
    try:
        argv = [sys.executable, "-c", "import flask"]
        return subprocess.run(argv, user=uid, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that other users may enter; those of pytest are closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.once
def test_what_the_image_holds_serves_from_a_folder_that_cannot_be_written(
    open_folder: Path, redis_url: str
) -> None:
    """The steps of the Dockerfile without its engine: its files, its user, its command."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    app, data, port = open_folder / "app", open_folder / "data", free_port()
    app.mkdir()
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.M):
        for name in sources.split():
            copy = partial(shutil.copytree, ignore=shutil.ignore_patterns("__pycache__"))
            (copy if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, app / name)  # type: ignore[operator]
    data.mkdir()
    user: dict[str, Any] = {}
    if may_run_as(uid := int(re.search(r"--uid (\d+)", dockerfile)[1])):  # type: ignore[index]
        user = {"user": uid}
        os.chown(data, uid, uid)
    before = sorted(app.rglob("*"))
    for path in [app, *before]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    environ = {
        "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "DATA_DIR": str(data),
        "REDIS_URL": redis_url, "QUEUE": f"image-{port}", "PORT": str(port),
    }  # fmt: skip
    run = partial(subprocess.Popen, cwd=app, env=environ, stdin=subprocess.DEVNULL, **user)
    assert run([sys.executable, "-m", "flask", "db", "upgrade"]).wait(120) == 0
    program, *more = json.loads(re.search(r"^CMD (.+)$", dockerfile, re.M)[1])  # type: ignore[index]
    with run([sys.executable, "-m", program, *more]) as web:
        try:
            page = f"http://127.0.0.1:{port}/login"
            assert until(lambda: web.poll() is not None or answers(page))
            assert web.poll() is None
        finally:
            web.terminate()
    assert sorted(app.rglob("*")) == before


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def test_make_lists_its_verbs() -> None:
    printed = subprocess.run(
        ["make"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    verbs = {line.split()[1] for line in printed if line.startswith("  make ")}
    assert verbs >= {
        "install",
        "run",
        "worker",
        "test",
        "lint",
        "types",
        "bench",
        "docs",
        "migrate",
    }


@pytest.fixture
def fresh_checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_a_python_that_is_too_old_is_said_before_anything_is_made(fresh_checkout: Path) -> None:
    old = fresh_checkout / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    tried = subprocess.run(
        ["make", "install", f"PYTHON={old}"],
        cwd=fresh_checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode != 0
    assert "Python 3.11 or newer is needed" in tried.stderr
    assert not (fresh_checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("verb", "pins"), [("run", "requirements.txt"), ("test", "requirements-dev.txt")]
)
def test_a_verb_installs_what_it_needs_and_says_how_long_it_takes(
    fresh_checkout: Path, verb: str, pins: str
) -> None:
    would = subprocess.run(
        ["make", "-n", verb], cwd=fresh_checkout, capture_output=True, text=True, check=True
    ).stdout
    assert f"Setting up .venv with {pins}: downloads about" in would
    assert f"--require-hashes -r {pins}" in would
    # It was asked what it would do, and does nothing.
    assert not (fresh_checkout / ".venv").exists()


def test_ci_is_a_script_that_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
