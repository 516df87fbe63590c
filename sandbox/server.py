"""The stand-in's HTTP side: reads a call, waits as a network would, answers or misbehaves."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import web

from sandbox import methods, wire
from sandbox.envelope import Refusal, failure
from sandbox.faults import ANSWER_FAULTS, FaultBook, Rule
from sandbox.inbox import Inbox
from sandbox.keys import ALL_METHODS
from sandbox.partners import DATA_CENTERS
from sandbox.spoil import HOSTILE_DOMAIN, spoil
from sandbox.tally import Tally
from sandbox.world import DATA_END, World

_PATH = re.compile(r"/([a-z]+)\.([a-z0-9]+)/([A-Za-z]+\.[A-Za-z.]+)")
FORM = "application/x-www-form-urlencoded"


@dataclass
class Settings:
    """How the stand-in behaves; all but the seed may be changed while it runs."""

    seed: int = 1
    now: str = DATA_END
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    rate: int | None = None


@dataclass
class StandIn:
    """The whole program: settings, data, rules of fault and counters behind one handler."""

    settings: Settings
    world: World = field(init=False)
    faults: FaultBook = field(init=False)
    tally: Tally = field(default_factory=Tally)
    inbox: Inbox = field(default_factory=Inbox)

    def __post_init__(self) -> None:
        self.world = World(seed=self.settings.seed, now=self.settings.now)
        self.faults = FaultBook(self.settings.seed)
        self._dice = random.Random(self.settings.seed)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request to the partner's API; `control.handle` answers the others."""
        self.tally.enter()
        try:
            return await self._api(request)
        finally:
            self.tally.in_flight -= 1

    async def _api(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/_redirected":
            self.tally.redirects_followed += 1
            return wire.plain(request, b'{"errorCode": 0, "sites": [], "results": []}')
        found = _PATH.fullmatch(request.path)
        if not found or found[2] not in DATA_CENTERS:
            return wire.status_page("404")
        self.tally.requests[found[3] if found[3] in ALL_METHODS else "other"] += 1
        try:
            call = await _read(request, found[3], found[2])
        except Refusal as refusal:
            return await self._answer(request, None, None, failure(refusal))
        return await self._answer(request, call, *self._work(call))

    def _work(self, call: methods.Call) -> tuple[Rule | None, dict[str, object]]:
        """Return the fault that strikes a call, if one does, and the answer to the call."""
        rule = None
        try:
            key = methods.admit(call)
            site, partner = methods.site_of(self.world, call), methods.partner_of(self.world, call)
            if call.is_search and site is not None:
                if not self.tally.admit_search(site.partner_id, self.settings.rate):
                    raise Refusal(403048)
                text = call.params.get("query", "")
                self.tally.note_search(site.partner_id, site.site_id, text)
            rule = self.faults.pick(call, partner, site)
            if rule is not None:
                self.tally.faults[rule.name] += 1
                self._before(rule, call)
            body = methods.perform(self.world, call, key)
            if rule is not None and rule.name in ANSWER_FAULTS:
                body = spoil(rule.name, body)
            return rule, body
        except Refusal as refusal:
            return rule, failure(refusal)

    def _before(self, rule: Rule, call: methods.Call) -> None:
        """Do what a rule demands before the call is worked on."""
        site = methods.site_of(self.world, call)
        if rule.name == "error":
            raise Refusal(rule.number())
        if rule.name == "bad-domain":
            where = f"https://accounts.{HOSTILE_DOMAIN}{call.method}"
            raise Refusal(301001, apiDomain=HOSTILE_DOMAIN, location=where)
        if rule.name == "deletion" and call.is_search and site is not None:
            self.world.store(site).delete(rule.number(5))

    async def _answer(
        self,
        request: web.BaseRequest,
        call: methods.Call | None,
        rule: Rule | None,
        body: dict[str, object],
    ) -> web.StreamResponse:
        code = body.get("errorCode", 0)
        if isinstance(code, int) and code:
            self.tally.errors[code] += 1
        if call is not None and "context" in call.params:
            body["context"] = call.params["context"]
        await self._wait(rule)
        if rule is not None and rule.name == "http":
            return wire.status_page(rule.argument)
        if rule is not None and rule.name in wire.WIRE:
            return await wire.misbehave(rule.name, request, wire.encode(body))
        shown = call is not None and call.flag("httpStatusCodes")
        status = body.get("statusCode", 200)
        return wire.plain(
            request, wire.encode(body), status if shown and isinstance(status, int) else 200
        )

    async def _wait(self, rule: Rule | None) -> None:
        wait_ms = self.settings.latency_ms + self._dice.random() * self.settings.jitter_ms
        if rule is not None and rule.name == "latency":
            wait_ms += rule.number()
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)


async def _read(request: web.BaseRequest, method: str, data_center: str) -> methods.Call:
    """Return the call a request makes. Raises Refusal when it is no form-encoded POST."""
    if request.method != "POST" or request.query_string:
        raise Refusal(400001, "POST only: a secret does not belong in a URL")
    if request.content_type != FORM:
        raise Refusal(400001, f"The body must be {FORM}")
    try:
        raw = await request.read()
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, strict_parsing=bool(raw), errors="strict",
            max_num_fields=100,
        )  # fmt: skip
    except web.HTTPRequestEntityTooLarge as error:
        raise Refusal(413001) from error
    except ValueError as error:
        raise Refusal(400001, "The body is no UTF-8 form") from error
    return methods.Call(method, data_center, dict(pairs))
