"""Vallum: every AI action passes one gate and leaves one proof."""
