"""The control addresses under /_control/: counters, faults, settings; from this machine only."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from aiohttp import web

from sandbox.faults import BadRule, read_rules
from sandbox.moments import parse_iso
from sandbox.server import StandIn


async def handle(stand_in: StandIn, request: web.BaseRequest) -> web.StreamResponse:
    """Answer any request: to a control address, to the inbox, or to the partner's API."""
    if request.path in {"/mail", "/hooks"} or request.path.startswith("/mail/"):
        if not _from_here(request):
            return _say(403, "The inbox is open to this machine only.")
        return await stand_in.inbox.handle(request)
    if not request.path.startswith("/_control/"):
        return await stand_in.handle(request)
    if not _from_here(request):
        return _say(403, "Control is open to this machine only.")
    name = request.path.removeprefix("/_control/")
    match request.method, name:
        case "GET", "stats":
            return _json(stand_in.tally.report())
        case "GET", "searches":
            return _json(stand_in.tally.searches())
        case "POST", "reset":
            stand_in.tally.reset()
            stand_in.world.forget()
            return _json({})
        case (("GET" | "POST" | "DELETE"), "faults"):
            return await _faults(stand_in, request)
        case (("GET" | "POST"), "settings"):
            return await _settings(stand_in, request)
        case _:
            return _say(404, "No such control address, or not with this method.")


async def _faults(stand_in: StandIn, request: web.BaseRequest) -> web.Response:
    if request.method == "DELETE":
        stand_in.faults.replace([])
    elif request.method == "POST":
        try:
            stand_in.faults.replace(read_rules(json.loads(await request.read())))
        except (BadRule, ValueError) as error:
            return _say(400, str(error))
    return _json(stand_in.faults.as_json())


async def _settings(stand_in: StandIn, request: web.BaseRequest) -> web.Response:
    settings = stand_in.settings
    if request.method == "POST":
        try:
            change(stand_in, json.loads(await request.read()))
        except (TypeError, ValueError) as error:
            return _say(400, f"These settings cannot be used: {error}")
    names = ("seed", "now", "latency_ms", "jitter_ms", "rate")
    return _json({name: getattr(settings, name) for name in names})


def change(stand_in: StandIn, given: Any) -> None:
    """Change settings of a running stand-in. Raises ValueError or TypeError for unusable ones."""
    settings = stand_in.settings
    if not isinstance(given, dict):
        raise TypeError("an object is needed")
    unknown = set(given) - {"now", "latency_ms", "jitter_ms", "rate"}
    if unknown:
        raise ValueError(f"not known: {', '.join(sorted(unknown))}")
    now = str(given.get("now", settings.now))
    parse_iso(now)
    latency_ms = float(given.get("latency_ms", settings.latency_ms))
    jitter_ms = float(given.get("jitter_ms", settings.jitter_ms))
    rate = given.get("rate", settings.rate)
    settings.rate = int(rate) if rate else None
    settings.latency_ms, settings.jitter_ms = latency_ms, jitter_ms
    if now != settings.now:
        settings.now = now
        stand_in.world.move_to(now)


def _from_here(request: web.BaseRequest) -> bool:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return peer is not None and ipaddress.ip_address(peer[0]).is_loopback


def _json(body: object) -> web.Response:
    return web.json_response(body)


def _say(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
