"""The mail of a delivery: figures and a picture of the chart, files attached up to a size."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any

from flask import current_app, render_template

from webapp import mail
from webapp.delivery.models import Delivery
from webapp.delivery.results import answer
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult
from webapp.lib.texts import storable

WIDTH, HEIGHT, MARGIN = 600, 200, 12
LINE, GROUND, AXIS = "#1f5fbf", "#ffffff", "#8a93a0"


def email_of(
    delivery: Delivery,
    *,
    link: str,
    unsubscribe_link: str,
    attachments: Sequence[tuple[str, bytes]],
    left_out: Sequence[str],
) -> EmailMessage:
    """Return the mail of a delivery to its one reader: plain text and HTML that say the same.

    Its Message-ID is made of the delivery, so that a mail that came twice is known for the same.
    """
    run, report = delivery.run, delivery.run.report
    said = answer(report)
    value_text = current_app.jinja_env.filters["format_value"]
    shown = {
        "definition": delivery.definition,
        "run": run,
        "report": report,
        "sentence": said.sentence,
        "figures": [
            (one.label, str(value_text(one.value, one.type)), one.note) for one in said.figures
        ],
        "about": delivery.about,
        "began": delivery.event == "alert.began",
        "failed": delivery.event == "report.failed",
        "link": link,
        "unsubscribe": unsubscribe_link,
        "left_out": left_out,
        "picture": _picture(report),
    }
    message = EmailMessage()
    message["Subject"] = _subject(delivery)
    message["From"] = mail.sender()
    message["To"] = delivery.target["to"][0]
    message["Date"] = formatdate()
    domain = str(message["From"]).rpartition("@")[2].strip("> ") or "localhost"
    message["Message-ID"] = f"<{delivery.id}@{domain}>"
    if unsubscribe_link:
        message["List-Unsubscribe"] = f"<{unsubscribe_link}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(render_template("delivery/email.txt", **shown))
    message.add_alternative(render_template("delivery/email.html", **shown), subtype="html")
    if shown["picture"]:
        html: Any = message.get_payload()[1]  # type: ignore[index]
        html.add_related(shown["picture"], "image", "png", cid="<chart>")
    for name, data in attachments:
        main, _, sub = (mimetypes.guess_type(name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    return message


def _subject(delivery: Delivery) -> str:
    """Return a mail's subject: what it is, for when, and whether something is wrong."""
    words = [delivery.definition.name, delivery.run.period]
    if delivery.about:
        verb = "alert" if delivery.event == "alert.began" else "over"
        words.append(f"{verb}: {delivery.about['alert']}")
    elif delivery.event == "report.failed":
        words.append("failed")
    elif delivery.run.report_status == "incomplete":
        words.append("incomplete")
    text = " · ".join(word for word in words if word)
    return " ".join(text.split()) if storable(text) else delivery.definition.kind


def _picture(report: Report | None) -> bytes | None:
    """Return the result's first chart as a small PNG of bars, or None where there is nothing."""
    if report is None or not report.has_result:
        return None
    kind, head = kinds()[report.kind], report.head or {}
    chart = next(iter(kind.charts(head)), None)
    if chart is None:
        return None
    column = chart.views[0][1]
    rows = [kind.grid_row(chart.table, row, head) for row in ReadResult(report).rows(chart.table)]
    values = [row.get(column) for row in rows if row.get(chart.x) not in chart.leave_out]
    numbers = [float(value) if isinstance(value, int | float) else None for value in values]
    return _bars(numbers) if any(numbers) else None


def _bars(numbers: Sequence[float | None]) -> bytes:
    """Draw bars from zero; what was not counted is a gap."""
    # Here, so that processes that draw nothing need not hold it.
    from PIL import Image, ImageDraw

    counted = [number for number in numbers if number is not None]
    low, high = min([0.0, *counted]), max([0.0, *counted])
    scale = (HEIGHT - 2 * MARGIN) / ((high - low) or 1.0)
    zero = HEIGHT - MARGIN + low * scale
    step = (WIDTH - 2 * MARGIN) / len(numbers)
    image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw = ImageDraw.Draw(image)
    for index, number in enumerate(numbers):
        if number is not None:
            left, top = MARGIN + index * step, zero - number * scale
            box = (left + step * 0.1, min(top, zero), left + step * 0.9, max(top, zero))
            draw.rectangle(box, fill=LINE)
    draw.line((MARGIN, zero, WIDTH - MARGIN, zero), fill=AXIS)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
