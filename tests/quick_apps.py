"""What makes hundreds of applications in one process cheap; what they do is the same.

A test makes an application of its own and uses a few of its addresses and templates. Most of what
making one costs is reading hundreds of addresses that were the same in the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from argon2 import PasswordHasher
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Dialect, Engine
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from webapp.accounts import passwords

Builder = Callable[..., tuple[str, str]]


class SharedRule(Rule):
    """A rule read once in this process; code that makes its address is written when first made."""

    known: ClassVar[dict[object, tuple[Any, ...]]] = {}
    builders: ClassVar[dict[object, Builder]] = {}

    def compile(self) -> None:
        """Take from an equal rule of another application what it was found to consist of."""
        key = self._key()
        if key in self.known:
            self._parts, self._trace, self._converters, self.arguments = self.known[key]
            self._build = self._compile_builder(False).__get__(self, None)
            self._build_unknown = self._compile_builder(True).__get__(self, None)
        else:
            super().compile()
            self.known[key] = (self._parts, self._trace, self._converters, self.arguments)

    def _key(self) -> object:
        return self.rule, self.subdomain, self.merge_slashes, repr(self.defaults)

    def _compile_builder(self, append_unknown: bool = True) -> Builder:
        write = super()._compile_builder
        key = self._key(), append_unknown

        def build(*args: Any, **kwargs: Any) -> tuple[str, str]:
            if key not in self.builders:
                self.builders[key] = write(append_unknown)
            return self.builders[key](*args, **kwargs)

        return build


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


def install() -> None:
    """Let every application that this process makes from now on be made so."""
    Flask.url_rule_class = SharedRule
    Flask.jinja_options = {"bytecode_cache": Templates()}
    # A guess shall cost an attacker a tenth of a second; a thousand sign-ins of tests need not.
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
