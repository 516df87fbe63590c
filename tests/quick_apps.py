"""What makes hundreds of applications in one process cheap; what they do is the same.

A test makes an application of its own, and most use a few of its addresses and templates. Two
thirds of what making one costs is code for addresses that nobody asks it to make.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule


class LateRule(Rule):
    """A rule that writes the code which makes its address when the address is first made."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        write = super()._compile_builder
        written: list[Callable[..., tuple[str, str]]] = []

        def build(*args: Any, **kwargs: Any) -> tuple[str, str]:
            if not written:
                written.append(write(append_unknown))
            return written[0](*args, **kwargs)

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


def install() -> None:
    """Let every application that this process makes from now on be made so."""
    Flask.url_rule_class = LateRule
    Flask.jinja_options = {"bytecode_cache": Templates()}
