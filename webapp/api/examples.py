"""Examples of the OpenAPI document: of each body and good answer, such as its schema allows.

A schema's own examples come first, then those here: whole ones by the name of a schema, texts by
schema and field where one name means different things, by format, or by the field alone.
"""

from __future__ import annotations

from typing import Any

from webapp.lib.openapi import Schema

REPORT_ID = "683a0f3e-eba0-4031-b068-397d5fb27ac7"
# What the stand-in partner of `make run` knows; public.
NEW_REPORT = {
    "kind": "partner-use",
    "params": {
        "partner_id": "70000001",
        "user_key": "demo-user-key",
        "user_secret": "ZGVtby1zZWNyZXQ=",
        "mode": "monthly",
        "start": "2024-01",
        "end": "2024-06",
    },
}
WHOLE: dict[str, Any] = {
    "NewReport": NEW_REPORT,
    "Report": {
        "id": REPORT_ID,
        "kind": "partner-use",
        "status": "queued",
        "params": {
            "partner_id": "70000001",
            "user_key": "demo-user-key",
            "mode": "monthly",
            "start": "2024-01",
            "end": "2024-06",
            "refresh": False,
            "exact": False,
        },
        "progress": {"done": 0, "total": 0},
        "company": "8fc4a6a1-8f5e-4b0e-9c58-0f7f5f0f3c11",
        "requested_by": "cbb5a1d4-2f0b-4f0e-8d3c-7b6f4f1e9a22",
        "created_at": "2026-11-22T02:40:18.422Z",
        "started_at": None,
        "finished_at": None,
        "error": None,
        "links": {
            "self": f"/api/v1/reports/{REPORT_ID}",
            "events": f"/api/v1/reports/{REPORT_ID}/events",
            "result": f"/api/v1/reports/{REPORT_ID}/result",
        },
    },
    "Result": {
        "kind": "label-revenue",
        "generated_at": "2026-11-22T02:40:21Z",
        "complete": True,
        "currency": "EUR",
        "pool": "45.55",
        "labels": [
            {
                "label": "Harbour Classics",
                "seconds": 900,
                "share": 45.0,
                "amount": 20.5,
                "kind": "label",
            }
        ],
    },
}
FORMATS = {
    "uuid": REPORT_ID,
    "date-time": "2026-11-22T02:40:18.422Z",
    "date": "2026-11-22",
    "email": "ada@example.com",
    "month": "2026-10",
}
_CREDENTIAL = "from the page Keys"
_TOKEN = "eyJhbGciOiJIUzI1NiJ9…"
TEXTS = {
    "contexts": "project",
    "Comparison.from": REPORT_ID,
    "Comparison.to": REPORT_ID,
    "Delivery.status": "sent",
    "Delivery.to": "ada@example.com",
    "EmailTarget.to": "ada@example.com",
    "FolderTarget.url": "s3://bucket/reports",
    "Name.others": "pink1",
    "Quiet.begin": "22:00",
    "Quiet.end": "07:00",
    "SignedUrl.url": "https://reports.example.com/inventory/files/…",
    "UnplacedEvent.type": "trash",
    "User.status": "ACTIVE",
    "WebhookTarget.url": "https://example.com/hook",
    "Name": "pink0001",
    "activityCategoryType": "ENERGY",
    "companyName": "Example",
    "emissionCalculationType": "DEFAULT",
    "fingerprint": "fuel|diesel|l",
    "measurementId": "tutorial-1",
    "reportingSplit": "DEFAULT",
    "stage": "PRINCIPAL",
    "stageDetail": "NO_DETAIL",
    "validFrom": "1970-01-01",
    "validTo": "9999-12-31",
    "accessToken": _TOKEN,
    "access_token": _TOKEN,
    "adjustments": "0.00",
    "agent_key": _CREDENTIAL,
    "apiKey": _CREDENTIAL,
    "api_token": _TOKEN,
    "attribute": "diesel",
    "basis": "location",
    "by": "email",
    "category": "Electricity",
    "closing": "20.50",
    "comp_name": "pink0001",
    "currency": "EUR",
    "description": "What it is for",
    "earned": "20.50",
    "emission_factor": "0.4",
    "end": "2026-11-22T12:00:00Z",
    "endDate": "2026-11-30",
    "end_date_time": "2026-11-22T12:00:00Z",
    "event": "report.finished",
    "factor_source": "national inventory 2026",
    "file_version_id": "51b2f0a4-5a7e-4d7c-9a53-2f5f7d0f6b33",
    "firstName": "Ada",
    "first_name": "Ada",
    "full_name": "Ada Lovelace",
    "gas": "CH4",
    "id": REPORT_ID,
    "ip_addr": "192.0.2.7",
    "keyword": "fuel",
    "kind": "partner-use",
    "label": "Harbour Classics",
    "lastName": "Lovelace",
    "last_name": "Lovelace",
    "last_seen": "2026-11-22T12:00:00Z",
    "login": "ada",
    "login_initiation_url": "https://reports.example.com/login",
    "made_at": "2026-11-22T12:30:00Z",
    "made_by": "grace@example.com",
    "message": "Success",
    "msg": "Deleted.",
    "name": "Example",
    "new_end": "2026-11-22T11:00:00Z",
    "new_start": "2026-11-22T09:00:00Z",
    "next": "pink0100",
    "note": "order 4711",
    "opening": "0.00",
    "organizationUnitId": REPORT_ID,
    "paid": "20.50",
    "partner_id": "70000001",
    "password": "from the user",
    "period": "2026-10",
    "period_id": REPORT_ID,
    "quantity": "1200",
    "reason": "the computer was left on",
    "refreshToken": _TOKEN,
    "refresh_token": _TOKEN,
    "region": "NL",
    "report_status": "done",
    "reportingPeriodId": REPORT_ID,
    "secret": _CREDENTIAL,
    "service_id": REPORT_ID,
    "session_id": REPORT_ID,
    "shortName": "2026",
    "short_name": "2026",
    "start": "2026-11-22T09:00:00Z",
    "startDate": "2026-11-01",
    "start_date_time": "2026-11-22T09:00:00Z",
    "status": "done",
    "taken_back_at": "2026-11-22T13:00:00Z",
    "taken_back_by": "grace@example.com",
    "title": "Partner use",
    "track_id": "T-503",
    "unit": "kWh",
    "unit_id": REPORT_ID,
    "unit_of_measure": "kWh",
    "url": "https://reports.example.com/…",
    "user_key": _CREDENTIAL,
    "username": "ada@example.com",
}
# A good answer has none.
NOTHING = {"error"}
NO_EXAMPLE = "…"


def add_examples(document: dict[str, Any]) -> None:
    """Give each body and good answer of a document an example that its schema allows.

    Files that are no text have none.
    """
    schemas = document["components"]["schemas"]
    for item in document["paths"].values():
        for operation in (one for method, one in item.items() if method != "parameters"):
            answers = (one for status, one in operation["responses"].items() if status < "400")
            for part in (operation.get("requestBody", {}), *answers):
                for content in part.get("content", {}).values():
                    if content["schema"].get("format") != "binary":
                        content.setdefault("example", _example_of(content["schema"], schemas))


def _example_of(
    schema: Schema, schemas: dict[str, Schema], name: str = "", depth: int = 0, owner: str = ""
) -> Any:
    """Return a value that a schema allows, from its own examples where it has any."""
    if "$ref" in schema:
        owner = schema["$ref"].rpartition("/")[2]
        if owner in WHOLE:
            return WHOLE[owner]
        return _example_of(schemas[owner], schemas, name, depth, owner)
    for given in ("examples", "enum"):
        if given in schema:
            return schema[given][0]
    if "const" in schema or schema.get("default") is not None:
        return schema.get("const", schema.get("default"))
    for choices in ("oneOf", "anyOf", "allOf"):
        if choices in schema:
            if name in NOTHING and {"type": "null"} in schema[choices]:
                return None
            return _example_of(schema[choices][0], schemas, name, depth, owner)
    match schema.get("type"):
        case "object":
            members = schema.get("properties", {})
            # What need not be sent may exclude something else.
            shown = schema.get("required", ()) if depth or "required" in schema else members
            return {one: _example_of(members[one], schemas, one, depth + 1, owner) for one in shown}
        case "array":
            return [_example_of(schema.get("items", {}), schemas, name, depth + 1, owner)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "string":
            return _text(schema, name, owner)
    return None


def _text(schema: Schema, name: str, owner: str) -> str:
    by_owner, by_name = TEXTS.get(f"{owner}.{name}"), TEXTS.get(name) or FORMATS.get(name)
    return by_owner or FORMATS.get(schema.get("format", "")) or by_name or NO_EXAMPLE
