"""What a release says of an application, held to in flight: its guards, limits and models, its prompt, its tools.

They come out of the release that was verified in this process, not out of the inventory: what somebody changes there
behind the release's back changes no request, and the watch tells and undoes it. An application that no release holds is
as the inventory has it. Tools are held to on both sides: what a request offers to the model, and what an answer calls.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vallum.gateway.refusals import Refused
from vallum.inventory import Application
from vallum.kernel.errors import IntegrityError
from vallum.releases import ReleasedApplication, with_policy

__all__ = ["Released", "called_tools", "check_called", "check_offered", "offered_tools"]

_PLAIN_KINDS = (None, "function", "custom")
_CALL_KINDS = frozenset(
    {"tool_use", "server_tool_use", "mcp_tool_use", "function_call", "custom_tool_call", "mcp_call"}
)
_KEPT_THERE = ("prompt", "container")  # of a provider's own: stored prompts that bring tools along, skills that run
_MAX_DEPTH = 16  # a call stands five deep at most
_MAX_SHOWN = 64

Find = Callable[[str], ReleasedApplication | None]


class Released:
    """For one event loop."""

    def __init__(self, find: Find) -> None:
        """`find` answers from memory, and raises of the IntegrityError family for what it cannot believe."""
        self._find = find
        self._known: dict[str, tuple[Application, ReleasedApplication, Application]] = {}

    def application(self, name: str, declared: Application) -> tuple[Application, ReleasedApplication | None]:
        """As it is to be now. Raises Refused where a release should say and cannot be believed."""
        try:
            released = self._find(name)
        except IntegrityError as e:
            raise Refused(503, e.code, str(e), outcome="release_broken") from e
        if released is None:
            self._known.pop(name, None)
            return declared, None
        known = self._known.get(name)
        if known is None or known[0] is not declared or known[1] is not released:
            known = self._known[name] = (declared, released, with_policy(declared, released.policy))
        return known[2], released


def check_offered(document: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Raises Refused for a tool that the release does not allow, or that cannot be told."""
    for field in _KEPT_THERE:
        if document.get(field) is not None:
            message = f"{field}: what the provider keeps is not in this application's release: leave it out"
            raise Refused(403, "tool_not_allowed", message, outcome="denied")
    for name in offered_tools(document):
        if name not in allowed:
            shown = "; ".join(sorted(allowed)) or "none"
            message = f"tools: this application's release allows {shown}: leave the others out, or release it anew"
            raise Refused(403, "tool_not_allowed", message, outcome="denied")


def check_called(answer: Any, allowed: frozenset[str]) -> None:
    """Raises Refused for an answer, or an event of a stream, that calls another tool."""
    for name in called_tools(answer):
        if name not in allowed:
            message = "the answer calls a tool that this application's release does not allow"
            raise Refused(422, "tool_not_allowed", message, outcome="blocked")


def offered_tools(document: Mapping[str, Any]) -> Iterator[str]:
    """The names of everything a request lets the model call, by any of the APIs' ways to say it.

    A tool that a provider runs itself has the name of its kind too, since that is what it goes by.
    """
    yield from _listed(document.get("tools"))
    yield from _listed(document.get("functions"))
    for server in _items(document.get("mcp_servers")):
        yield f"mcp:{_name(server.get('name'))}"
    if document.get("web_search_options") is not None:
        yield "web_search"
    for item in document["input"] if isinstance(document.get("input"), list) else ():
        if isinstance(item, dict):
            yield from _listed(item.get("tools"))


def called_tools(value: Any, depth: int = 0) -> Iterator[str]:
    """The names that an answer calls, wherever in it."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for one in value:
            yield from called_tools(one, depth + 1)
    elif isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and (kind in _CALL_KINDS or kind.endswith("_call")):
            yield from _called(kind, value)
        for call in (*_calls(value.get("tool_calls")), *_calls([value.get("function_call")])):
            yield from _names_of(call)
        for inner in value.values():
            yield from called_tools(inner, depth + 1)


def _called(kind: str, value: Mapping[str, Any]) -> Iterator[str]:
    if kind == "mcp_call":
        yield f"mcp:{_name(value.get('server_label'))}"
    elif isinstance(value.get("name"), str):
        yield value["name"]
    elif kind not in _CALL_KINDS:
        yield kind.removesuffix("_call")  # a provider's own: web_search_call


def _calls(value: Any) -> Iterator[Mapping[str, Any]]:
    for one in value if isinstance(value, list) else ():
        if isinstance(one, dict):
            yield one


def _names_of(call: Mapping[str, Any]) -> Iterator[str]:
    """Of a chat's tool call; a later piece of one has no name any more."""
    for holder in (call, call.get("function"), call.get("custom")):
        if isinstance(holder, dict) and isinstance(holder.get("name"), str) and holder["name"]:
            yield holder["name"]


def _listed(tools: Any) -> Iterator[str]:
    for tool in _items(tools):
        kind = tool.get("type")
        if kind == "mcp":
            yield f"mcp:{_name(tool.get('server_label'))}"
            continue
        if kind not in _PLAIN_KINDS:
            yield _name(kind)
        inner = next((tool[key] for key in ("function", "custom") if isinstance(tool.get(key), dict)), tool)
        if kind in _PLAIN_KINDS or "name" in inner:
            yield _name(inner.get("name"))
        yield from _listed(tool.get("tools"))  # a namespace of them


def _items(tools: Any) -> list[dict[str, Any]]:
    if tools is None:
        return []
    if not isinstance(tools, list) or not all(type(one) is dict for one in tools):
        raise Refused(400, "invalid", "tools: a list of objects", outcome="invalid")
    return tools


def _name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_SHOWN * 4:
        raise Refused(400, "invalid", "tools: each has a name", outcome="invalid")
    return name
