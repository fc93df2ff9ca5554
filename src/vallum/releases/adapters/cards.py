"""Model cards of registered versions, scored for the checks of a promotion."""

from sqlalchemy import Connection

from vallum.models.registry import Descriptions
from vallum.releases.ports import CardScore

__all__ = ["RegisteredCards"]


class RegisteredCards:
    """Implements `Cards`."""

    def __init__(self, descriptions: Descriptions) -> None:
        self._descriptions = descriptions

    def score(self, conn: Connection, model: str, number: int) -> CardScore | None:
        found = self._descriptions.score(conn, model, number)
        return None if found is None else CardScore(int(found.score * 100), found.missing)
