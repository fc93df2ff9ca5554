"""What a table is like: one pass, exact where it says so, and nothing of columns that are sensitive."""

from vallum.data.profile.build import Profiling, profile_table
from vallum.data.profile.model import ColumnProfile, TableProfile

__all__ = ["ColumnProfile", "Profiling", "TableProfile", "profile_table"]
