"""Spark, in a session that the caller made: local, or a cluster that sees the staging's folder.

Patterns run in Python workers through RE2 (google-re2 must be there): Spark's own are Java's, which backtrack, so
that one hostile pattern or text could hold a cluster for years, and which mean other things by $ and \\s.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vallum.data.gates.engines.port import EngineFailed
from vallum.data.gates.engines.relational import alike_in, made_by, orphans_in, repeats_in, scalars_in, shared_in
from vallum.data.gates.model import Alike, Expression, Orphans, Repeats, Shared
from vallum.data.readers import Staging
from vallum.data.table import Table

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["SparkEngine"]


class SparkEngine:
    name = "spark"

    def __init__(self, session: Any, staging: Staging) -> None:
        self._session = session
        # a file's own statistics are its writer's word: nothing is skipped because of them
        session.conf.set("spark.sql.parquet.filterPushdown", "false")
        session.conf.set("spark.sql.parquet.aggregatePushdown", "false")
        self._staging = staging

    def scalars(self, table: Table, asked: Sequence[Expression]) -> Mapping[str, Any]:
        import narwhals as nw

        with _failures():
            patterns = _Patterns()
            made = made_by(patterns, asked)
            native = self._native(table)
            for name, (column, pattern) in patterns.used.items():
                native = native.withColumn(name, _matching(pattern)(native[column]))
            return scalars_in(nw.from_native(native), asked, made)

    def repeats(self, table: Table, asked: Repeats) -> int:
        with _failures():
            return repeats_in(self._frame(table), asked)

    def orphans(self, table: Table, asked: Orphans) -> int:
        with _failures():
            return orphans_in(self._frame(table), self._frame(asked.parent), asked)

    def shared(self, table: Table, asked: Shared) -> int:
        with _failures():
            return shared_in(self._frame(table), self._frame(asked.other), table, asked)

    def alike(self, table: Table, asked: Alike) -> Mapping[tuple[int, int], int]:
        with _failures():
            return alike_in(self._frame(table), table, asked)

    def _frame(self, table: Table) -> "nw.LazyFrame[Any]":
        import narwhals as nw

        frame: Any = nw.from_native(self._native(table))
        return frame  # type: ignore[no-any-return]

    def _native(self, table: Table) -> Any:
        path = self._staging.materialise(table)
        files = sorted(map(str, path.glob("*.parquet"))) if path.is_dir() else [str(path)]
        return self._session.read.parquet(*files)


class _Patterns:
    """Notes which column is to match which pattern, and gives the column that will say so."""

    def __init__(self) -> None:
        self.used: dict[str, tuple[str, str]] = {}

    def matches(self, column: str, pattern: str) -> "nw.Expr":
        import narwhals as nw

        name = f"__vallum_matches_{len(self.used)}"
        self.used[name] = (column, pattern)
        return nw.col(name)

    def length(self, column: str) -> "nw.Expr":
        import narwhals as nw

        return nw.col(column).str.len_chars()


def _matching(pattern: str) -> Callable[[Any], Any]:
    from pyspark.sql.functions import udf
    from pyspark.sql.types import BooleanType

    def matches(text):  # type: ignore[no-untyped-def]  # Spark takes hints for a wish to use Arrow
        import re2

        return None if text is None else re2.search(pattern, text) is not None

    wrapped: Callable[[Any], Any] = udf(matches, BooleanType(), useArrow=False)
    return wrapped


@contextmanager
def _failures() -> Iterator[None]:
    import narwhals as nw
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, nw.exceptions.NarwhalsError, OSError, TypeError, ValueError) as e:
        raise EngineFailed(f"Spark failed ({type(e).__name__})") from e
