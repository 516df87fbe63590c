"""What a worker holds before it works: packages that no report needs are not among it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOOK = """
import sys, worker
worker.create_app()
print(*{"alembic", "PIL", "typst"} & sys.modules.keys())
"""


def test_a_worker_loads_no_package_that_only_others_need(tmp_path: Path) -> None:
    env = os.environ | {"DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=env, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
