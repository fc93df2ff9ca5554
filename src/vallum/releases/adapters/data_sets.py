"""The data sets that registered models were trained on, as the data catalogue knows them."""

from collections.abc import Sequence

from sqlalchemy import Connection

from vallum.data.catalogue import DataCatalogue

__all__ = ["GovernedDataSets"]


class GovernedDataSets:
    """Implements `DataSets`."""

    def __init__(self, catalogue: DataCatalogue) -> None:
        self._catalogue = catalogue

    def unapproved(self, conn: Connection, model: str, number: int) -> Sequence[str] | None:
        return self._catalogue.unapproved(conn, model, number)
