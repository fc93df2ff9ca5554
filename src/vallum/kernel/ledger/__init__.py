"""The tamper-evident log of every decision and its outcome.

Import `verify` by its own name: it depends on nothing but the standard library and `cryptography`.
"""
