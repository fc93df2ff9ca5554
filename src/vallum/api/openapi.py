"""The OpenAPI 3.1 description, generated from the routes and the types they already have."""

import inspect
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from vallum import __version__
from vallum.api.problems import MEDIA_TYPE, TOKEN_PATH, Problem
from vallum.api.routing import Download, RawBody, Route

__all__ = ["render_openapi"]


def render_openapi(routes: Sequence[Route]) -> dict[str, Any]:
    types = [
        t for route in routes for t in (route.body, route.query, route.answer) if t not in (None, Download, RawBody)
    ]
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template="#/components/schemas/{name}")
    by_type = dict(zip(map(_key, [*types, Problem]), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        template = route.template.replace("...}", "}")
        paths.setdefault(template, {})[route.method.lower()] = _operation(route, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vallum control plane",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Every operation passes the gate and leaves an entry, whose id is in `x-vallum-entry`.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"credential": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, by_type: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.path.split("/")[1]],
        "x-vallum-action": str(route.action),
        "parameters": [
            {"name": name.rstrip("."), "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{([a-z_.]+)}", route.path)
        ],
        "responses": _responses(route, by_type),
        "security": [] if route.access == "open" else [{"credential": []}],
    }
    if route.query is not None:
        properties = components[route.query.__name__]["properties"]
        operation["parameters"] += [{"name": n, "in": "query", "schema": schema} for n, schema in properties.items()]
    if route.body is RawBody:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.body is not None:
        content = {"application/json": {"schema": by_type[_key(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    documentation = inspect.getdoc(route.answer) if isinstance(route.answer, type) else None
    if documentation and route.answer is not Download:
        operation["description"] = documentation
    return operation


def _responses(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    kinds = (MEDIA_TYPE, "application/json") if route.template == TOKEN_PATH else (MEDIA_TYPE,)
    schema = {"schema": by_type[_key(Problem)]}
    problem = {"description": "A problem (RFC 9457)", "content": dict.fromkeys(kinds, schema)}
    if route.answer is None:
        answer: dict[str, Any] = {"description": "Done"}
    elif route.answer is Download:
        answer = {"description": "The file", "content": {route.media_type: {"schema": {"type": "string"}}}}
    else:
        answer = {"description": "Done", "content": {"application/json": {"schema": by_type[_key(route.answer)]}}}
    return {str(route.status): answer, "4XX": problem, "5XX": problem}


def _key(type_: Any) -> str:
    return repr(type_)
