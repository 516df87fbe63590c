"""The columns of the files that are loaded, as `webapp.intake` is handed them."""

from __future__ import annotations

from typing import Literal

from webapp.errors import InvalidParams
from webapp.intake import Field, Format, Question

Role = Literal["users", "streams", "tracks"]

FIELDS: dict[str, tuple[Field, ...]] = {
    "users": (
        Field("user_id", "user id", "integer"),
        Field("product_type", "product type"),
        Field("fee", "fee", "decimal"),
        Field("origin", "origin"),
    ),
    "streams": (
        Field("date", "date", "date"),
        Field("user_id", "user id", "integer"),
        Field("region", "region"),
        Field("track_id", "track id"),
        Field("seconds", "seconds", "integer"),
    ),
}


class Unanswered(InvalidParams):
    """422: a file may be read in two ways, so somebody has to say which."""

    def __init__(self, name: str, question: Question) -> None:
        super().__init__({question.name: f"{name}: {question.sentence}"})
        self.question = question


def check_answered(name: str, found: Format) -> None:
    """Raise Unanswered with the first question a file leaves open."""
    for question in found.questions:
        raise Unanswered(name, question)
