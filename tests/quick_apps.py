"""What makes hundreds of applications in one process cheap; what they do is the same.

A test makes an application of its own and uses a few of its addresses and templates. Most of what
making one costs is reading hundreds of addresses that were the same in the last one.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, ClassVar

from argon2 import PasswordHasher
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Dialect, Engine, Pool, QueuePool
from sqlalchemy.util import LRUCache
from werkzeug.routing import Map, Rule, RuleFactory
from werkzeug.routing.matcher import StateMachineMatcher

from tests.soon import until
from webapp.accounts import passwords

# Methods and defaults, which have no hash, apart.
_SAID = attrgetter(
    "rule", "endpoint", "subdomain", "host", "strict_slashes", "merge_slashes", "build_only",
    "redirect_to", "alias", "websocket", "provide_automatic_options",
)  # fmt: skip


class SharedMap(Map):
    """The addresses of an application: where equal ones were made before, those are used."""

    made: ClassVar[dict[object, tuple[StateMachineMatcher, dict[Any, list[Rule]]]]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.given: list[Rule] = []

    def add(self, rulefactory: RuleFactory) -> None:
        """Keep a rule until somebody asks for an address."""
        self.given += rulefactory.get_rules(self)
        self._remap = True

    def update(self) -> None:
        """Bind the rules, unless an application with the same ones has done it."""
        with self._remap_lock:
            if not self._remap:
                return
            key = tuple(self._key(rule) for rule in self.given)
            if key not in self.made:
                whole = Map(host_matching=self.host_matching)
                for rule in self.given:
                    whole.add(rule if rule.map is None else self._unbound(rule))
                whole.update()
                self.made[key] = whole._matcher, whole._rules_by_endpoint
            self._matcher, self._rules_by_endpoint = self.made[key]
            self._remap = False

    @staticmethod
    def _key(rule: Rule) -> object:
        """Return all that was said of a rule: a test may add one, or one that differs."""
        methods, defaults = frozenset(rule.methods or ()), repr(rule.defaults)
        return _SAID(rule), methods, defaults

    @staticmethod
    def _unbound(rule: Rule) -> Rule:
        copy = rule.empty()
        copy.provide_automatic_options = rule.provide_automatic_options
        return copy


class Templates(BytecodeCache):
    """Keeps compiled templates for all applications of this process; a changed one is made anew."""

    def __init__(self) -> None:
        self.compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if found := self.compiled.get(bucket.key + bucket.checksum):
            bucket.bytecode_from_string(found)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.compiled[bucket.key + bucket.checksum] = bucket.bytecode_to_string()


_statements: dict[str, tuple[Dialect, Any]] = {}


def share_statements(engine: Engine) -> None:
    """Let an engine use what those before it on the same kind of database have compiled.

    Each application has an engine of its own, and writing SQL was a quarter of what tests did. The
    first that was connected, and so knows its server, is the one to share with.
    """
    kind = engine.dialect.name
    if engine.dialect.server_version_info:
        _statements.setdefault(kind, (engine.dialect, LRUCache(3000)))
    if kind in _statements:
        engine.dialect, engine._compiled_cache = _statements[kind]


_pools: dict[str, Pool] = {}


def share_connections(engine: Engine) -> None:
    """Let an engine on Postgres use the connections of those before it on the same database.

    A new one is a process of the server that reads about each table anew: half of what it did.
    """
    if engine.dialect.name == "postgresql":
        url = engine.url.render_as_string(hide_password=False)
        engine.pool = _pools.setdefault(url, engine.pool)


def close(engine: Engine) -> None:
    """Close an engine's connections, unless the next engine may have them.

    What a thread is just giving back is waited for: closed by nobody, a later test is told of it.
    """
    pool = engine.pool
    is_back = until(lambda: not (isinstance(pool, QueuePool) and pool.checkedout()), 2)
    if is_back and pool in _pools.values():
        return
    for url in [url for url, shared in _pools.items() if shared is pool]:
        del _pools[url]
    engine.dispose()


def install() -> None:
    """Let every application that this process makes from now on be made so."""
    Flask.url_map_class = SharedMap
    Flask.jinja_options = {"bytecode_cache": Templates()}
    # A guess shall cost an attacker a tenth of a second; a thousand sign-ins of tests need not.
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
