"""A table of a database, through SQLAlchemy, read only. Not a query: a query is code, and a name is not."""

from collections.abc import Iterator, Mapping
from typing import Any

from vallum.data.readers.staging import Progress, Staging
from vallum.data.readers.values import stage_values
from vallum.data.table import BadData, Kind, Table

__all__ = ["read_sql"]

_BATCH = 10_000


def read_sql(
    url: str, table: str, staging: Staging, types: Mapping[str, Kind] | None = None, progress: Progress | None = None
) -> Table:
    """The rows of `table` (or `schema.table`), staged. `types` count over the database's own.

    Rows come in the order that the database gives them, which is the order of row numbers. Raises BadData for a
    database that does not answer or has no such table; never says the URL, which holds a password.
    """
    import sqlalchemy as sa

    schema, _, name = table.rpartition(".")
    try:
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        reflected = sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=engine)
    except sa.exc.NoSuchTableError as e:
        raise BadData(f"{table}: the database has no such table") from e
    except (sa.exc.SQLAlchemyError, ImportError, ValueError) as e:
        raise BadData(f"{table}: the database does not answer ({type(e).__name__}): look at its URL") from None
    declared = {column.name: _kind(column.type) for column in reflected.columns}
    rows = _rows(engine, reflected, table)
    return stage_values(table, rows, staging, declared | dict(types or {}), progress, list(declared))


def _rows(engine: Any, reflected: Any, name: str) -> Iterator[Mapping[str, Any]]:
    import sqlalchemy as sa

    # text of SQLite may be anything, and drivers parse dates with a ValueError that quotes them: take those as text
    columns = [
        sa.type_coerce(c, sa.String).label(c.name) if engine.dialect.name == "sqlite" and _is_time(c.type) else c
        for c in reflected.columns
    ]
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            found = connection.execution_options(yield_per=_BATCH).execute(sa.select(*columns))
            for row in found.mappings():
                yield dict(row)
    except (sa.exc.SQLAlchemyError, ValueError, TypeError) as e:
        raise BadData(f"{name}: the database failed while it was read ({type(e).__name__})") from None


def _is_time(column_type: Any) -> bool:
    import sqlalchemy as sa

    return isinstance(column_type, (sa.Date, sa.DateTime, sa.Time))


def _kind(column_type: Any) -> Kind:
    import sqlalchemy as sa

    known: tuple[tuple[type, Kind], ...] = (
        (sa.Boolean, Kind.BOOLEAN), (sa.Integer, Kind.INTEGER), (sa.Numeric, Kind.NUMBER),
        (sa.DateTime, Kind.TIMESTAMP), (sa.Date, Kind.DATE), (sa.Time, Kind.TIME),
    )  # fmt: skip
    return next((kind for family, kind in known if isinstance(column_type, family)), Kind.STRING)
