"""scipy's distributions, which execute a template of source out of their state when they are loaded.

The template is the same for all of them but for the names of the parameters, so that one of that form runs nothing
of the input's choosing; whatever else the state is made to be, is refused.
"""

import re
from typing import Any

from vallum.models.scan.pickles.values import Span

__all__ = ["TEMPLATE_KEY", "is_distribution", "is_plain_method", "is_plain_state", "is_plain_template"]

TEMPLATE_KEY = "_parse_arg_template"
_MAX_KEYS = 200  # a real one has some thirty; of longer mappings not every key is kept
_MAX_CHARACTERS = 4096
_CLASS = re.compile(r"scipy\.stats\.(?:\w+\.)*(?:\w+_(?:gen|frozen)|rv_\w+)")
_METHOD = re.compile(r"_entropy|generic_moment|_(?:ppf|cdf|pdf|pmf|sf|isf|logpdf|mom\d|stats)\w{0,20}|_munp")
_NAMES = r"[A-Za-z0-9_, ]*"
_PLACE = r"loc=0(?:, scale=1)?"
_TEMPLATE = re.compile(
    rf"\ndef _parse_args\(self, {_NAMES} {_PLACE}\):\n    return \({_NAMES}\), loc, (?:scale|1)\n"
    rf"\ndef _parse_args_rvs\(self, {_NAMES} {_PLACE}, size=None\):\n"
    rf"    return self\._argcheck_rvs\({_NAMES}, size=size\)\n"
    rf"\ndef _parse_args_stats\(self, {_NAMES} {_PLACE}, moments='mv'\):\n"
    rf"    return \({_NAMES}\), loc, (?:scale|1), moments\n"
)


def is_distribution(full: str) -> bool:
    return _CLASS.fullmatch(full) is not None


def is_plain_method(name: str) -> bool:
    """Of a distribution, which keeps some of its own in a vectorised form. They compute."""
    return _METHOD.fullmatch(name) is not None


def is_plain_template(value: Any, data: bytes | memoryview) -> bool:
    """`data` is the input, in which long strings are kept by place."""
    if isinstance(value, Span):
        text = (
            str(data[value.start : value.end], "utf-8", "replace") if value.end - value.start < _MAX_CHARACTERS else ""
        )
    else:
        text = value if type(value) is str else ""
    return _TEMPLATE.fullmatch(text) is not None


def is_plain_state(state: Any, data: bytes | memoryview) -> bool:
    """Whether it is a mapping in plain sight, whose template is of the one form."""
    if type(state) is not dict or len(state) > _MAX_KEYS:
        return False
    return TEMPLATE_KEY not in state or is_plain_template(state[TEMPLATE_KEY], data)
