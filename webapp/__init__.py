"""The application: `create_app` reads like a contents page."""

# ruff: noqa: E402 - what is imported stays to the end; looking through it for garbage, while it
# comes and once more at the end, was a third of a short command's time.
from __future__ import annotations

import gc

gc.disable()

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp import (
    accounts,
    api,
    assets,
    cli,
    counters,
    delivery,
    engine,
    error_pages,
    extensions,
    ops,
    reports,
    security,
    tracing,
)
from webapp.config import load_settings
from webapp.data_dir import complete_settings
from webapp.kinds import KINDS
from webapp.lib.bodies import WireJSON

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from webapp.engine.kind import ReportKind


def create_app(
    config: Mapping[str, Any] | None = None, report_kinds: Iterable[ReportKind] = KINDS
) -> Flask:
    """Return the application; `config` overrides what the environment says.

    Raises: BadSetting (the process ends with a sentence) for a setting that cannot be used
    """
    app = error_pages.Application(__name__)
    app.config.update(complete_settings(load_settings() | dict(config or {})))
    app.config["MAX_CONTENT_LENGTH"] = 32 * 1024 * 1024
    if proxies := app.config["BEHIND_PROXIES"]:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies
        )
    extensions.init_app(app)
    assets.init_app(app)
    tracing.init_app(app)
    app.json = WireJSON(app)
    error_pages.init_app(app)
    accounts.init_app(app)
    security.init_app(app)
    counters.init_app(app)
    engine.init_app(app, report_kinds)
    reports.init_app(app)
    api.init_app(app)
    delivery.init_app(app)
    ops.init_app(app)
    cli.init_app(app)
    return app
