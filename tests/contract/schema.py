"""The Engine API's own description as a judge: finds an operation, checks an answer, says what does not fit.

Swagger 2.0 as moby writes it: ``$ref`` into ``definitions``, ``allOf``, ``x-nullable``. A property that the
description does not know is a fault, which plain Swagger would let through. The file is not in this repository:
PORTSIDE_API_YAML names it, or it lies in ``../shared/reference`` beside the checkout.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

VARIABLE = "PORTSIDE_API_YAML"
NAME = "docker-engine-api-1.51.yaml"
_PLACEHOLDER = re.compile(r"\{\w+\}")
# Names in these places hold slashes: the rest of a path's placeholders do not.
_WITH_SLASHES = ("/images/", "/distribution/", "/plugins/")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def find_description() -> Path | None:
    """Return where the description is; None when it is nowhere."""
    named = os.environ.get(VARIABLE)
    candidates = [Path(named)] if named else []
    root = Path(__file__).resolve().parents[2]
    candidates += [root.parent / "shared/reference" / NAME, root / "shared/reference" / NAME]
    return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class Operation:
    """One operation: ``path`` with its placeholders, ``definition`` as the description has it."""

    method: str
    path: str
    definition: dict[str, Any]

    @property
    def name(self) -> str:
        """Its operationId."""
        return str(self.definition.get("operationId", f"{self.method} {self.path}"))


class Description:
    """The parsed file."""

    def __init__(self, path: Path) -> None:
        """Read and parse ``path``; takes a second."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._root: dict[str, Any] = yaml.load(path.read_bytes(), loader)
        self.operations: list[tuple[re.Pattern[str], Operation]] = []
        # More words before placeholders first: /images/json is not /images/{name}.
        paths = sorted(self._root["paths"].items(), key=lambda item: (item[0].count("{"), -len(item[0])))
        for template, methods in paths:
            for method, definition in methods.items():
                if method != "parameters":
                    operation = Operation(method.upper(), template, definition)
                    self.operations.append((_pattern(template), operation))

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation of a request's path (without version and query)."""
        for pattern, operation in self.operations:
            if operation.method == method and pattern.fullmatch(path):
                return operation
        return None

    def definition(self, name: str) -> dict[str, Any]:
        """Return a schema by its name."""
        found: dict[str, Any] = self._root["definitions"][name]
        return found

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return what a schema's ``$ref`` means, with ``allOf`` merged."""
        while "$ref" in schema:
            schema = self.definition(schema["$ref"].rsplit("/", 1)[1])
        if "allOf" not in schema:
            return schema
        merged: dict[str, Any] = {**schema, "properties": dict(schema.get("properties", {}))}
        for part in schema["allOf"]:
            resolved = self.resolve(part)
            merged["properties"] |= resolved.get("properties", {})
            merged.setdefault("type", resolved.get("type", "object"))
            if "additionalProperties" in resolved:
                merged.setdefault("additionalProperties", resolved["additionalProperties"])
        return merged

    def check(self, operation: Operation, status: int, body: object) -> list[str]:
        """Return the faults of an answer, each with its place; empty when it fits."""
        responses = {str(code): response for code, response in operation.definition["responses"].items()}
        if str(status) not in responses:
            if status >= 400:  # the description does not list every refusal: its body has one form
                return list(self._faults({"$ref": "#/definitions/ErrorResponse"}, body, ""))
            return [f"status {status} is not described"]
        schema = responses[str(status)].get("schema")
        return [] if schema is None else list(self._faults(schema, body, ""))

    def items(self, operation: Operation, status: int, body: object) -> list[object]:
        """Return what of an answer is to be checked: its body, or each object of a stream; nothing of plain text."""
        if isinstance(body, str):
            return []
        responses = {str(code): response for code, response in operation.definition["responses"].items()}
        schema = self.resolve(responses.get(str(status), {}).get("schema", {}))
        is_stream = isinstance(body, list) and schema.get("type") == "object"
        return list(body) if is_stream and isinstance(body, list) else [body]

    def _faults(self, schema: dict[str, Any], value: object, where: str) -> Iterator[str]:
        schema = self.resolve(schema)
        if value is None:
            return  # Go writes null for a slice, map or pointer that is nil, whatever the description says
        kind = schema.get("type")
        if kind is None:
            kind = "object" if "properties" in schema else None
        if kind is None or (kind == "string" and schema.get("format") == "binary"):
            return
        fits = isinstance(value, _TYPES[kind]) and not (isinstance(value, bool) and kind in ("integer", "number"))
        if not fits:
            yield f"{where or '.'}: {_shown(value)} is no {kind}"
        elif isinstance(value, list):
            for item in value:
                yield from self._faults(schema.get("items", {}), item, f"{where}[]")
        elif isinstance(value, dict):
            yield from self._object_faults(schema, value, where)
        elif "enum" in schema and value not in schema["enum"]:
            yield f"{where or '.'}: {_shown(value)} is none of {schema['enum']}"

    def _object_faults(self, schema: dict[str, Any], value: dict[str, Any], where: str) -> Iterator[str]:
        properties = schema.get("properties", {})
        more = schema.get("additionalProperties", not properties)
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}.{name}: missing"
        for name, item in value.items():
            if name in properties:
                yield from self._faults(properties[name], item, f"{where}.{name}")
            elif isinstance(more, dict):
                yield from self._faults(more, item, f"{where}.*")
            elif not more:
                yield f"{where}.{name}: unknown property"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def _pattern(template: str) -> re.Pattern[str]:
    inner = ".+" if template.startswith(_WITH_SLASHES) else "[^/]+"
    position, pattern = 0, ""
    for found in _PLACEHOLDER.finditer(template):
        pattern += re.escape(template[position : found.start()]) + inner
        position = found.end()
    return re.compile(pattern + re.escape(template[position:]))
