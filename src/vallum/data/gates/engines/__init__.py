"""Where checks run: Polars on one machine, DuckDB beside a warehouse, Spark where the data outgrew both."""

from vallum.data.gates.engines.duckdb import DuckDBEngine
from vallum.data.gates.engines.polars import PolarsEngine
from vallum.data.gates.engines.port import Engine, EngineFailed
from vallum.data.gates.engines.spark import SparkEngine

__all__ = ["DuckDBEngine", "Engine", "EngineFailed", "PolarsEngine", "SparkEngine"]
