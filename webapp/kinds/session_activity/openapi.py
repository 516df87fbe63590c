"""The addresses of session activity, as the OpenAPI document shows them."""

from __future__ import annotations

from webapp.openapi import (
    DAY,
    MOMENT,
    NUMBER,
    TEXT,
    Describer,
    Paths,
    asked,
    listed,
    maybe,
    thing,
)

_operation = Describer("Session activity", thing({"message": TEXT}, data={})).operation

PREFIX = "/api/session-manager"
_CREATED = thing({"message": TEXT})
_NAMES = listed(thing({"Name": TEXT}))
_PROMISE = NUMBER | {"minimum": 1, "maximum": 86_400}
_SESSION = thing(
    {"id": TEXT, "comp_name": TEXT, "login": TEXT, "next_ping_sec": _PROMISE},
    ip_addr=maybe(TEXT),
    date_time=maybe(TEXT),
)
_PING = thing(
    {"session_id": TEXT, "login": TEXT, "next_ping_sec": _PROMISE},
    session_type=maybe(TEXT),
    date_time=maybe(TEXT),
)
_VERDICTS = listed(
    thing({"index": NUMBER, "session_id": maybe(TEXT), "status": NUMBER, "message": TEXT})
)
_ONLINE = thing(
    {
        "id": TEXT,
        "comp_name": TEXT,
        "ip_addr": maybe(TEXT),
        "login": TEXT,
        "start_date_time": MOMENT,
        "end_date_time": MOMENT,
    }
)
_HOURS = {"hours": {"type": "number"}, "machine_hours": {"type": "number"}}
_ACTIVITY = thing(
    {
        "id": TEXT,
        "login": TEXT,
        "total_hours": {"type": "number"},
        "total_machine_hours": {"type": "number"},
        "user_activity": listed(thing(_HOURS, year=TEXT, month_num=TEXT, date=MOMENT)),
    }
)

PATHS: Paths = {
    f"{PREFIX}/users": {
        "post": _operation("Store logins", _CREATED, status=201, body=_NAMES),
    },
    f"{PREFIX}/computers": {
        "post": _operation("Store computers", _CREATED, status=201, body=_NAMES),
    },
    f"{PREFIX}/session": {
        "post": _operation(
            "Begin a session", _CREATED, status=201, body=_SESSION, errors=(404, 409)
        ),
    },
    f"{PREFIX}/activity": {
        "post": _operation(
            "Take a ping, or a list of them with a verdict for each",
            thing({"message": TEXT}, data=_VERDICTS),
            status=201,
            body={"oneOf": [_PING, listed(_PING) | {"maxItems": 20_000}]},
            errors=(404, 409),
        ),
        "get": _operation(
            "Hours of a login by month or by date",
            thing({"message": TEXT, "data": _ACTIVITY}),
            query=(
                asked("login", "Whose hours.", needed=True),
                asked("session_type", "Only pings of this type."),
                asked("from_date", "The first day.", DAY),
                asked("to_date", "The last day.", DAY),
                asked("group_by", "How they are summed.", TEXT | {"enum": ["date", "month"]}),
            ),
            errors=(400, 404),
        ),
    },
    f"{PREFIX}/dashboard": {
        "get": _operation("Who is online", thing({"message": TEXT, "data": listed(_ONLINE)})),
    },
}
