"""The data sets that models were trained on and that releases retrieve from, as the data catalogue knows them."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from vallum.data.catalogue import DataCatalogue
from vallum.kernel.values import Subject
from vallum.releases.ports import DataVersion

__all__ = ["GovernedDataSets"]


class GovernedDataSets:
    """Implements `DataSets`."""

    def __init__(self, catalogue: DataCatalogue) -> None:
        self._catalogue = catalogue

    def unapproved(self, conn: Connection, model: str, number: int) -> Sequence[str] | None:
        return self._catalogue.unapproved(conn, model, number)

    def version(self, conn: Connection, dataset: str, number: int) -> DataVersion:
        return self._catalogue.version(conn, dataset, number)

    def held(self, conn: Connection, release: str, datasets: Collection[str]) -> Sequence[str]:
        return self._catalogue.desk.affecting(conn, release, datasets)

    def verify(self, dataset: str, number: int) -> None:
        self._catalogue.verify(dataset, number)

    def use(self, conn: Connection, dataset: str, number: int, release: str, by: Subject) -> None:
        self._catalogue.use(conn, dataset, number, "release", release, by)
