"""What a worker holds before it works: no package that no report needs, no garbage to look for.

Memory that the collector of garbage looks through is copied for each work-horse.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOOK = """
import gc, sys, worker
looked_through = len(gc.get_objects())
worker.create_app()
print(*{"alembic", "PIL", "psycopg", "typst", "valkey"} & sys.modules.keys())
print(gc.isenabled(), looked_through < gc.get_freeze_count() / 10)
"""


def test_a_worker_loads_no_package_that_only_others_need(tmp_path: Path) -> None:
    env = os.environ | {"DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=env, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("\nTrue True\n", 0), done.stderr
