"""Pickles, read by a machine that runs nothing. See `machine` for reading and `policy` for judging."""

from vallum.models.scan.pickles.inspectors import inspectors

__all__ = ["inspectors"]
