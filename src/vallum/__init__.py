"""Vallum: every AI action passes one gate and leaves one proof."""

__version__ = "0.1.0"
