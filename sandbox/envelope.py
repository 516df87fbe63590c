"""The envelope of every answer and the names of the error codes."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

NAMES = {
    100001: "Data pending",
    301001: "Invalid data center",
    400001: "Invalid request format",
    400002: "Missing required parameter",
    400004: "Invalid parameter format",
    400006: "Invalid parameter value",
    400009: "Validation error",
    400020: "Schema validation failed",
    400093: "Invalid ApiKey parameter",
    400096: "Not supported",
    403000: "Forbidden",
    403002: "Request has expired",
    403003: "Invalid request signature",
    403004: "Duplicate nonce",
    403005: "Unauthorized user",
    403006: "Sensitive data sent over HTTP",
    403007: "Permission denied",
    403010: "Invalid secret",
    403023: "User has no permission",
    403025: "Invalid token",
    403026: "Unauthorized access",
    403036: "Unauthorized partner",
    403045: "Invalid site configuration",
    403048: "Api rate limit exceeded",
    403120: "Account temporarily locked out",
    404000: "Not found",
    405001: "Invalid API method",
    409030: "Too many concurrent requests",
    413001: "Request entity too large",
    500000: "General security warning",
    500001: "General server error",
    500026: "Network error",
    500028: "Database error",
    500033: "Environment error",
    500034: "Backend error",
    503001: "Service unavailable",
    504001: "Timeout",
    504002: "Request timeout",
}
REASONS = {
    2: "OK",
    3: "Moved Permanently",
    4: "Bad Request",
    5: "Internal Server Error",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class Refusal(Exception):
    """An API error: its six-digit code, what it says about this request, and further members."""

    def __init__(self, code: int, details: str = "", **members: object) -> None:
        super().__init__(code)
        self.code = code
        self.details = details
        self.members = members


def success(**members: object) -> dict[str, object]:
    """Return a successful answer."""
    return _head(0, 200) | members


def failure(refusal: Refusal) -> dict[str, object]:
    """Return the answer of a refusal."""
    status = refusal.code // 1000
    name = NAMES.get(refusal.code, "General error")
    body = _head(refusal.code, status if 200 <= status < 600 else 200)
    body |= {"errorMessage": name, "errorDetails": refusal.details or name}
    return body | refusal.members


def _head(code: int, status: int) -> dict[str, object]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return {
        "callId": secrets.token_hex(16),
        "errorCode": code,
        "apiVersion": 2,
        "statusCode": status,
        "statusReason": REASONS.get(status) or REASONS.get(status // 100, "OK"),
        "time": f"{now}Z",
    }
