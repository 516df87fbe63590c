"""A stack of tiny programs for the supervisor's tests: started as a process of its own.

`python small_helpers.py FOLDER NAME…`: each program writes what happens to it into FOLDER/log.
"""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from pathlib import Path

# The supervisor alone: the package around it takes a hundred times as long to import.
_path = Path(__file__).parents[2] / "webapp" / "ops" / "supervisor.py"
_spec = importlib.util.spec_from_file_location("supervisor", _path)
assert _spec is not None
assert _spec.loader is not None
supervising = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(supervising)

# Writes its name and number when it starts; says which signals it got; ends as its name says.
TINY = """
import os, signal, sys, time
name, log = sys.argv[1:3]
def note(what):
    with open(log, "a") as file:
        file.write(f"{name} {what} {os.getpid()} {time.monotonic():.3f}\\n")
terms = 0
def term(*_):
    global terms
    terms += 1
    note("term")
    if name == "deaf" or (name == "busy" and terms < 2):
        return
    if name == "slow":
        time.sleep(0.5)
    note("gone")
    os._exit(0)
signal.signal(signal.SIGTERM, term)
if name == "quiet":
    os.close(1), os.close(2)
note("up")
if name == "broken":
    print("no such thing", flush=True)
    sys.exit(3)
if name != "quiet":
    print("hello from", name, flush=True)
while True:
    time.sleep(0.05)
"""


def main(folder: Path, names: list[str]) -> int:
    script = folder / "tiny.py"
    script.write_text(textwrap.dedent(TINY))
    supervisor = supervising.Supervisor()
    supervisor.listen_to_signals()
    for name in names:
        argv = [sys.executable, "-S", str(script), name, str(folder / "log")]
        supervisor.add(
            supervising.Program(
                name,
                argv,
                insist=name == "busy",
                stops_last=name == "store",
                vital=name == "broken",
            )
        )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
