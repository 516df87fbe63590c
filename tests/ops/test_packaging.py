"""`pip install .` gives the whole program: its pages, migrations, sample data and a command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from webapp.version import VERSION

ROOT = Path(__file__).parents[2]
FOLDERS = ("webapp", "sandbox", "migrations")
FILES = ("pyproject.toml", "requirements.in", "README.md", "LICENSE", "worker.py", "wsgi.py")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """Return the package as pip builds it, from a copy of the sources."""
    folder = tmp_path_factory.mktemp("package")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder / "dist")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return ZipFile(next((folder / "dist").glob("*.whl")))


def test_the_package_holds_every_file_of_the_program(wheel: ZipFile) -> None:
    sources = {
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {"worker.py", "wsgi.py"}
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == sources


def test_the_package_says_what_it_is(wheel: ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    said = Parser().parsestr(wheel.read(name).decode())
    assert (said["Version"], said["License-Expression"]) == (VERSION, "MIT")
    assert said["Requires-Python"] == ">=3.11"
    needed = {line.partition("=")[0] for line in said.get_all("Requires-Dist", [])}
    assert {"flask", "rq", "sqlalchemy", "gunicorn"} <= needed
    assert "pytest" not in needed


def test_the_installed_command_is_the_one_of_the_checkout(wheel: ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "partner-use-report = webapp.__main__:main" in wheel.read(name).decode()
    for argv in (["-m", "webapp", "version"], ["-m", "flask", "--app", "wsgi.py", "version"]):
        printed = subprocess.run(
            [sys.executable, *argv], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert printed == f"Partner Use Report {VERSION}\n"
