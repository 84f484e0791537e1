"""Reads JSON bodies as Go's encoding/json does, since clients rely on that: names match whatever their case,
null is absent, a command may be one string; and what does not fit is told in Go's words.

Owns no body: the structs of ``engine.model`` say what there is. Source: the documentation of encoding/json, and
answers of dockerd 28.5 (tests/contract/sessions).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec
import msgspec.inspect as shape

from engine.errors import InvalidArgument

T = TypeVar("T")

_INT64 = 2**63
# What Go calls a body that our model names otherwise: for a whole body, and before a field in it.
_BODIES = {
    "AuthConfig": ("registry.AuthConfig", "AuthConfig"),
    "ContainerCreateRequest": ("container.CreateRequest", ""),
    "ContainerUpdateRequest": ("container.UpdateConfig", "UpdateConfig"),
    "ExecCreateRequest": ("container.ExecOptions", "ExecOptions"),
    "ExecStartRequest": ("container.ExecStartOptions", "ExecStartOptions"),
    "NetworkConnectRequest": ("network.ConnectOptions", "ConnectOptions"),
    "NetworkCreateRequest": ("network.CreateRequest", "CreateRequest"),
    "NetworkDisconnectRequest": ("network.DisconnectOptions", "DisconnectOptions"),
    "VolumeCreateRequest": ("volume.CreateOptions", "CreateOptions"),
}
_PACKAGES = {"EndpointSettings": "network", "NetworkingConfig": "network", "Mount": "mount"}
# moby's StrSlice: a list of words, or one word that stands for such a list.
_WORDS = frozenset(
    {
        ("ContainerCreateRequest", "Cmd"),
        ("ContainerCreateRequest", "Entrypoint"),
        ("ContainerCreateRequest", "Shell"),
        ("HostConfig", "CapAdd"),
        ("HostConfig", "CapDrop"),
    }
)


def read_json(data: bytes, kind: type[T]) -> T:
    """Return ``data`` as ``kind``; raises InvalidArgument with Go's text when it is no such thing."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidArgument(_syntax_error(data, str(error))) from error
    kind_type = _type_of(kind)
    if value is None:
        value = {}
    name = kind.__name__
    try:
        read = _Reader(name).read(value, kind_type, "")
        return msgspec.convert(read, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidArgument(f"invalid JSON: {error}") from error


_TYPES: dict[type[Any], shape.Type] = {}


def _type_of(kind: type[Any]) -> shape.Type:
    if kind not in _TYPES:
        _TYPES[kind] = shape.type_info(kind)
    return _TYPES[kind]


@cache
def _fields_of(struct: type) -> tuple[dict[str, shape.Field], dict[str, shape.Field]]:
    """Return a struct's fields by their names, and by their names in lower case."""
    kind = _type_of(struct)
    fields = kind.fields if isinstance(kind, shape.StructType) else ()
    return {field.encode_name: field for field in fields}, {field.encode_name.lower(): field for field in fields}


class _Reader:
    """Walks one body; ``body`` is the name of our struct for it."""

    def __init__(self, body: str) -> None:
        self._body = body

    def read(self, value: Any, kind: shape.Type, place: str) -> Any:  # noqa: ANN401 - JSON
        """Return ``value`` with the names of ``kind`` and without nulls; raises InvalidArgument."""
        if isinstance(kind, shape.UnionType):
            kind = _chosen(kind, value)
        if isinstance(kind, shape.AnyType) or value is None:
            return value
        if isinstance(kind, shape.StructType):
            if not isinstance(value, dict):
                raise self._misfit(value, kind, place)
            return self._read_struct(value, kind.cls, place)
        if isinstance(kind, shape.DictType):
            if not isinstance(value, dict):
                raise self._misfit(value, kind, place)
            items = {name: _zero(item, kind.value_type) for name, item in value.items()}
            return {name: self.read(item, kind.value_type, place) for name, item in items.items()}
        if isinstance(kind, shape.ListType):
            if not isinstance(value, list):
                raise self._misfit(value, kind, place)
            return [self.read(_zero(item, kind.item_type), kind.item_type, place) for item in value]
        if not _fits(value, kind):
            raise self._misfit(value, kind, place)
        return value

    def _read_struct(self, value: dict[str, Any], struct: type, place: str) -> dict[str, Any]:
        exact, folded = _fields_of(struct)
        read: dict[str, Any] = {}
        for name, item in value.items():
            field = exact.get(name) or folded.get(name.lower())
            if field is None or item is None:
                continue  # Go ignores the one and keeps its zero value for the other
            inner = f"{place}.{field.encode_name}"
            if (struct.__name__, field.encode_name) in _WORDS:
                if isinstance(item, str):
                    item = [item]
                elif not isinstance(item, list):
                    raise InvalidArgument(
                        f"invalid JSON: json: cannot unmarshal {_called(item)} into Go value of type string"
                    )
            read[field.encode_name] = self.read(item, field.type, inner)
        return read

    def _misfit(self, value: Any, kind: shape.Type, place: str) -> InvalidArgument:  # noqa: ANN401 - JSON
        whole, before = _BODIES.get(self._body, (self._body, self._body))
        where = f"Go struct field {before}{place} of type {_go_name(kind)}" if place else f"Go value of type {whole}"
        return InvalidArgument(f"invalid JSON: json: cannot unmarshal {_called(value, kind)} into {where}")


def _chosen(kind: shape.UnionType, value: Any) -> shape.Type:  # noqa: ANN401 - JSON
    """Return the member of a union that a value is meant for; the first real one when it fits none."""
    members = [item for item in kind.types if not isinstance(item, (shape.NoneType, shape.CustomType))]
    for member in members:
        if isinstance(member, shape.AnyType) or _fits(value, member):
            return member
    return members[0] if members else shape.AnyType()


def _fits(value: Any, kind: shape.Type) -> bool:  # noqa: ANN401 - JSON
    if isinstance(kind, shape.IntType):
        return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
    if isinstance(kind, shape.FloatType):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, shape.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, shape.StrType):
        return isinstance(value, str)
    if isinstance(kind, (shape.StructType, shape.DictType)):
        return isinstance(value, dict)
    if isinstance(kind, shape.ListType):
        return isinstance(value, list)
    return True


def _zero(item: Any, kind: shape.Type) -> Any:  # noqa: ANN401 - JSON
    """Return an element of a list or map; Go reads null there as the zero value."""
    if item is not None:
        return item
    if isinstance(kind, shape.UnionType):
        kind = _chosen(kind, None)
    zeros: tuple[tuple[type[shape.Type], Any], ...] = (
        (shape.StrType, ""),
        (shape.IntType, 0),
        (shape.BoolType, False),
        (shape.StructType, {}),
        (shape.DictType, {}),
        (shape.ListType, []),
        (shape.AnyType, {}),  # the elements of sets: Go's struct{}
    )
    return next((zero for known, zero in zeros if isinstance(kind, known)), None)


def _called(value: Any, kind: shape.Type | None = None) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return f"number {value}" if isinstance(kind, shape.IntType) else "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _go_name(kind: shape.Type) -> str:
    if isinstance(kind, shape.ListType):
        return f"[]{_go_name(kind.item_type)}"
    if isinstance(kind, shape.DictType):
        return f"map[string]{_go_name(kind.value_type)}"
    if isinstance(kind, shape.StructType):
        name = kind.cls.__name__
        return f"{_PACKAGES.get(name, 'container')}.{name}"
    if isinstance(kind, shape.UnionType):
        return _go_name(_chosen(kind, None))
    if isinstance(kind, shape.IntType):
        return "int64"
    return "bool" if isinstance(kind, shape.BoolType) else "string"


def _syntax_error(data: bytes, said: str) -> str:
    """Return Go's text for bytes that are no JSON; ``said`` is what msgspec makes of them."""
    if "truncated" in said:
        return "invalid JSON: unexpected EOF"
    place = said.rpartition("(byte ")[2].rstrip(")")
    if "trailing characters" in said:
        return "unexpected content after JSON"
    if "malformed" in said and place.isdigit() and int(place) < len(data):
        character = data[int(place) :][:1].decode("latin-1")
        return f"invalid JSON: invalid character {character!r} looking for beginning of value"
    return f"invalid JSON: {said}"
