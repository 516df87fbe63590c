"""The columns of the files that are loaded, as `webapp.intake` is handed them."""

from __future__ import annotations

from typing import Literal

from webapp.errors import InvalidParams
from webapp.intake import Field, Format, Question

Role = Literal["users", "streams", "tracks"]

LISTENER = ("user", "listener", "account id", "customer number", "Kunde", "client", "usuario")
DAY = ("day", "played at", "timestamp", "stream date", "sale date", "Datum", "jour", "fecha")
DURATION = ("duration", "ms played", "seconds played", "Dauer", "durée", "duración")
FIELDS: dict[str, tuple[Field, ...]] = {
    "users": (
        Field("user_id", "user id", "integer", words=LISTENER),
        Field("product_type", "product type", words=("product", "plan", "Produkt", "produit")),
        Field("fee", "fee", "decimal", words=("price", "amount", "Preis", "prix", "precio")),
        Field("origin", "origin", words=("channel", "store", "Kanal", "canal", "tienda")),
    ),
    "streams": (
        Field("date", "date", "day", words=DAY),
        Field("user_id", "user id", "integer", words=LISTENER),
        Field("region", "region", words=("country", "territory", "market", "Land", "pays", "país")),
        Field("track_id", "track id", words=("track", "isrc", "recording", "Titel ID", "pista")),
        Field("seconds", "seconds", "seconds", words=DURATION),
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
