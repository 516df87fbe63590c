"""Every bound of a conversation with the partner in one place, so that tests can be quick.

Source: partner guide, "Errors and limits": connect 10 s, whole request = server timeout + 15 s,
size caps after decompression, exponential backoff with full jitter.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of one call and of one session.

    Units: `_s` seconds, `_bytes` bytes after decompression; `tries` counts the first one too
    """

    connect_s: float = 10.0
    server_timeout_s: float = 20.0
    margin_s: float = 15.0
    total_s: float = 180.0
    poll_s: float = 0.5
    tries: int = 6
    few_tries: int = 3
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 30.0
    retry_after_cap_s: float = 120.0
    patience_s: float = 300.0
    probe_s: float = 10.0
    site_list_bytes: int = 16 * MIB
    config_bytes: int = 4 * MIB
    search_bytes: int = 1 * MIB

    def answer_bytes(self, method: str) -> int:
        """Return how large an answer of this method may be."""
        if method == "admin.getUserSites":
            return self.site_list_bytes
        return self.config_bytes if method.startswith("admin.") else self.search_bytes
