"""Where the sample files of this kind are."""

from __future__ import annotations

from pathlib import Path

from webapp.kinds.label_revenue import loads

SAMPLE = Path(loads.__file__).parent / "sample"
FILES = {"users": "users.csv", "streams": "streaming.csv", "tracks": "tracks.json"}
