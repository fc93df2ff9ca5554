"""YAML that somebody else wrote (a card's front matter, an environment), read into plain values and nothing else.

Built from the parser's events, so that nothing is constructed that was not asked for. Answers aliases (which multiply),
tags (which make objects), members twice (which readers take differently), depth and size. Dates stay text; numbers
that JSON does not have stay text, too.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

__all__ = ["NotPlainYaml", "parse_yaml", "render_yaml"]

MAX_YAML_BYTES = 1 << 20  # the largest cards of the field have some hundred results, a tenth of this
_MAX_EVENTS = 200_000
_MAX_DEPTH = 24


class NotPlainYaml(ValueError):
    """Says what is wrong, and never quotes the document. Translated by whoever knows what was being read."""


def parse_yaml(text: str) -> dict[str, Any]:
    """One mapping of text to plain values. Raises NotPlainYaml, whatever the text is."""
    import yaml

    if len(text) > MAX_YAML_BYTES:
        raise NotPlainYaml(f"it is larger than {MAX_YAML_BYTES} characters")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        value = _build(text, loader)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise NotPlainYaml(f"it is no YAML{where}") from e
    except NotPlainYaml:
        raise
    except (ValueError, RecursionError) as e:  # surrogates; numbers with too many digits
        raise NotPlainYaml("it cannot be read") from e
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NotPlainYaml("it is no mapping")
    return value


def render_yaml(data: Mapping[str, Any]) -> str:
    """In the order given, Unicode as it is, no aliases; with a line break at the end unless empty."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    if not data:
        return ""
    try:
        written = [
            str(yaml.dump(dict(data), Dumper=Plain, sort_keys=False, allow_unicode=readable, width=2**20))
            for readable in (True, False)
        ]
    except yaml.YAMLError as e:
        raise NotPlainYaml("it holds what YAML has no plain form for") from e
    # The emitter writes some line breaks of Unicode as they are, and its own parser takes them for others.
    return written[0] if _reads_as(written[0], data) else written[1]


def _reads_as(text: str, data: Mapping[str, Any]) -> bool:
    try:
        return parse_yaml(text) == dict(data)
    except NotPlainYaml:
        return False


def _build(text: str, loader: Any) -> Any:
    import yaml

    resolver, constructor = yaml.resolver.Resolver(), yaml.constructor.SafeConstructor()
    open_: list[list[Any]] = []  # [container, waiting key] of what is not closed yet
    root: Any = None
    documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=loader)):
        if count > _MAX_EVENTS:
            raise NotPlainYaml(f"it has more than {_MAX_EVENTS} parts")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise NotPlainYaml("it is more than one document")
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise NotPlainYaml("it has an anchor or alias: write it out")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            closed = open_.pop()[0]
            if open_:
                _put(open_[-1], closed)
            else:
                root = closed
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
                raise NotPlainYaml("it has a tag, which makes an object")
            if len(open_) == _MAX_DEPTH:
                raise NotPlainYaml(f"it nests deeper than {_MAX_DEPTH}")
            open_.append([{} if isinstance(event, yaml.MappingStartEvent) else [], _NONE])
        elif isinstance(event, yaml.ScalarEvent):
            is_key = bool(open_) and isinstance(open_[-1][0], dict) and open_[-1][1] is _NONE
            value = event.value if is_key else _scalar(event, resolver, constructor)
            if open_:
                _put(open_[-1], value)
            else:
                root = value
    return root


_NONE = object()


def _put(frame: list[Any], value: Any) -> None:
    container, key = frame
    if isinstance(container, list):
        container.append(value)
    elif key is _NONE:
        if not isinstance(value, str):
            raise NotPlainYaml("it has a key that is no text")
        if value == "<<":
            raise NotPlainYaml("it merges mappings: write it out")
        if value in container:
            raise NotPlainYaml("it has a key twice")
        frame[1] = value
    else:
        container[key] = value
        frame[1] = _NONE


def _scalar(event: Any, resolver: Any, constructor: Any) -> Any:
    import yaml

    if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
        raise NotPlainYaml("it has a tag, which makes an object")
    if event.tag is not None:
        return event.value
    tag = resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
    node = yaml.ScalarNode(tag, event.value)
    if tag == "tag:yaml.org,2002:null":
        return None
    if tag == "tag:yaml.org,2002:bool":
        return constructor.construct_yaml_bool(node)
    if tag == "tag:yaml.org,2002:int":
        return constructor.construct_yaml_int(node)
    if tag == "tag:yaml.org,2002:float":
        number = constructor.construct_yaml_float(node)
        return number if isfinite(number) else event.value
    return event.value
