"""The form of a saved report: a definition as its fields, and its fields as the API takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.datastructures import MultiDict

from webapp.delivery.models import Definition
from webapp.delivery.results import main_figures
from webapp.delivery.schedules import relative_label, relative_month, relative_word
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text

Form = MultiDict[str, Any]
EMPTY_ALERTS = 2
RULES = {
    "above": "is at least the limit",
    "below": "is at most the limit",
    "share": "is at least that share of the limit",
    "change": "changes by that much or more",
    "unusual": "is unusual for it",
}


def read_settings(form: Form) -> dict[str, Any]:
    """Return what the form says of schedule, readers and alerts, as the API takes it."""
    every = form.get("every", "")
    schedule: dict[str, Any] | None = None
    if every == "cron":
        schedule = {"cron": form.get("cron", "")}
    elif every:
        wanted = {"month": ["grace_days"], "week": ["weekday"]}.get(every, [])
        schedule = {"every": every, "at": form.get("at") or "07:00"}
        schedule |= {name: int(form[name]) for name in wanted if form.get(name, "").isdigit()}
    quiet = {"begin": form.get("quiet_begin", ""), "end": form.get("quiet_end", "")}
    body = {
        "name": form.get("name", ""),
        "schedule": schedule,
        "alerts": _read_alerts(form),
        "quiet": quiet if any(quiet.values()) else None,
        "hold_incomplete": form.get("hold_incomplete") == "true",
        "private": form.get("private") == "true",
    }
    return body if form.get("keep_deliver") else body | {"deliver": _read_targets(form)}


def _read_targets(form: Form) -> list[dict[str, Any]]:
    deliver: list[dict[str, Any]] = []
    attach = form.getlist("attach")
    if addresses := form.get("emails", "").replace(",", " ").replace(";", " ").split():
        deliver.append({"by": "email", "to": addresses, "attach": attach})
    if url := form.get("webhook", "").strip():
        deliver.append({"by": "webhook", "url": url})
    if url := form.get("folder", "").strip():
        deliver.append({"by": "folder", "url": url, "attach": attach or ["csv"]})
    return deliver


def _read_alerts(form: Form) -> list[dict[str, Any]]:
    """Return the alerts of a form; a line that watches nothing is none."""
    names = ("alert_of", "alert_when", "alert_limit", "alert_percent", "alert_name")
    alerts = []
    for of, when, limit, percent, name in zip(*map(form.getlist, names), strict=False):
        if not of:
            continue
        what, _, label = of.partition(":")
        alert = {"name": name.strip() or f"{label} {when}", what: label, "when": when}
        numbers = {"limit": limit, "percent": percent}
        # People write 25,000 and 80 %.
        written = {field: text.strip(" %").replace(",", "") for field, text in numbers.items()}
        alerts.append(alert | {field: text for field, text in written.items() if text})
    return alerts


def read_relative(form: Form) -> dict[str, str]:
    """Return the months that the form says relative to now, or fixed, by their parameter."""
    return {
        name.removeprefix("relative."): word
        for name, word in form.items()
        if name.startswith("relative.") and word
    }


def form_of(definition: Definition) -> Form:
    """Return a stored definition as the fields of its form."""
    schedule = definition.schedule or {}
    stored = {name: str(value) for name, value in schedule.items() if value is not None}
    form = Form({"name": definition.name, "every": "cron" if "cron" in stored else ""} | stored)
    for target in definition.deliver:
        if target["by"] == "email":
            form["emails"] = "\n".join(target["to"])
        else:
            form[target["by"]] = target["url"]
        form.setlist("attach", [*form.getlist("attach"), *target.get("attach", [])])
    for name in ("hold_incomplete", "private"):
        form[name] = "true" if getattr(definition, name) else ""
    quiet = definition.quiet or {}
    form["quiet_begin"], form["quiet_end"] = quiet.get("begin", ""), quiet.get("end", "")
    if len({target["by"] for target in definition.deliver}) < len(definition.deliver):
        form["keep_deliver"] = "true"
    for alert in definition.alerts:
        what = "figure" if alert["figure"] is not None else "column"
        form.add("alert_of", f"{what}:{alert[what]}")
        for name in ("when", "limit", "percent", "name"):
            value = alert[name]
            text = f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else value
            form.add(f"alert_{name}", "" if value is None else str(text).removesuffix(".0"))
    return form


def alert_lines(form: Form) -> list[dict[str, Any]]:
    """Return the lines of the form's alerts, with empty ones to fill in."""
    names = ("of", "when", "limit", "percent", "name")
    columns = [form.getlist(f"alert_{name}") for name in names]
    lines = [dict(zip(names, line, strict=True)) for line in zip(*columns, strict=False)]
    kept = [line for line in lines if line["of"]]
    return [*kept, *({} for _ in range(EMPTY_ALERTS))]


def watchable(report: Report | None) -> list[tuple[str, str]]:
    """Return (value, label) of what alerts can watch: figures, and columns of the main table."""
    if report is None or not report.has_result:
        return []
    figures = [(f"figure:{one['label']}", one["label"]) for one in main_figures(report)]
    sheet = kinds()[report.kind].sheets(ReadResult(report))[0]
    columns = [column for column in sheet.columns if column.is_number]
    return figures + [(f"column:{one.name}", f"{one.label}, in any row") for one in columns]


def month_choices(
    params: Mapping[str, Any], typed: Mapping[str, Any]
) -> dict[str, list[tuple[str, str, bool]]]:
    """Return, for each parameter that is a month, its choices: (value, label, chosen)."""
    found = {}
    for name, value in params.items():
        month = relative_month(value, utcnow())
        fixed = month_text(month) if month else value
        word = relative_word(fixed, utcnow())
        if word is None:
            continue
        chosen = typed.get(f"relative.{name}", value if month else word)
        found[name] = [
            (fixed, f"always {fixed}", chosen == fixed),
            (word, f"{relative_label(word)}, moving along", chosen == word),
        ]
    return found
