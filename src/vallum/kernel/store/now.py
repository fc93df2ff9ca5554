"""The database's own clock, as an expression: the one that every replica of Vallum agrees on.

It is read when the statement runs. PostgreSQL's `now()` would be when the transaction began, and a grant could be
used after its end by whoever began early.
"""

from typing import Any

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["database_now"]


class database_now(FunctionElement[float]):
    """Unix time in seconds, with a fraction."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "postgresql")
def _postgresql(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


@compiles(database_now, "sqlite")
def _sqlite(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"
