"""DuckDB, in memory, with its memory bounded and its spilling in the staging's private folder."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vallum.data.gates.engines.port import EngineFailed
from vallum.data.gates.engines.relational import alike_in, made_by, orphans_in, repeats_in, scalars_in, shared_in
from vallum.data.gates.model import Alike, Expression, Orphans, Repeats, Shared
from vallum.data.readers import Staging
from vallum.data.table import Table

if TYPE_CHECKING:
    import narwhals as nw

__all__ = ["DuckDBEngine"]


class DuckDBEngine:
    """Reads tables as Parquet: those that are none are written into `staging` first, typed by the one reader."""

    name = "duckdb"

    def __init__(self, staging: Staging, memory: str = "2GB") -> None:
        import duckdb

        self._staging = staging
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory, "autoinstall_known_extensions": False,
        }  # fmt: skip
        self._connection = duckdb.connect(":memory:", config=config)
        self._connection.execute("SET temp_directory = ?", [str(staging.place())])
        # A file's own statistics are its writer's word: by them DuckDB decides that a column holds no NaN, or that a
        # filter need not look. (Polars leaves NaN out of them; somebody else may leave out more.)
        self._connection.execute("SET disabled_optimizers = 'statistics_propagation,filter_pushdown'")

    def close(self) -> None:
        self._connection.close()

    def matches(self, column: str, pattern: str) -> "nw.Expr":
        import narwhals as nw

        return nw.col(column).str.contains(pattern)

    def length(self, column: str) -> "nw.Expr":
        import narwhals as nw

        return nw.col(column).str.len_chars()

    def scalars(self, table: Table, asked: Sequence[Expression]) -> Mapping[str, Any]:
        with _failures():
            return scalars_in(self._frame(table), asked, made_by(self, asked))

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

        path = self._staging.materialise(table)
        files = sorted(map(str, path.glob("*.parquet"))) if path.is_dir() else [str(path)]
        # a list of names is not globbed by the value; brackets in a name would be, so they are escaped
        escaped = [file.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]") for file in files]
        return nw.from_native(self._connection.read_parquet(escaped))


@contextmanager
def _failures() -> Iterator[None]:
    import duckdb
    import narwhals as nw

    try:
        yield
    except (duckdb.Error, nw.exceptions.NarwhalsError, OSError, TypeError, ValueError) as e:
        raise EngineFailed(f"DuckDB failed ({type(e).__name__})") from e
