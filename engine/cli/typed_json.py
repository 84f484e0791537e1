"""JSON of the engine with the field names of its structs, for templates.

A field that the engine left out has its zero value in ``{{if .State.Health}}`` and is an error only when no
such field exists; keys of the user's (labels) may be missing. Knows nothing of commands.
"""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from engine.cli.template_run import NIL, GoStruct, NilMap, NilSlice, OpenMap

POINTERS = frozenset(("SizeRw", "SizeRootFs", "StopTimeout", "Init", "PidsLimit", "OomKillDisable"))
"""Fields that Go leaves out as pointers to nothing, although their type here is a plain number or boolean."""


def typed(value: Any, kind: Any, type_name: str = "") -> Any:  # noqa: ANN401 - JSON and a type form
    """Return decoded JSON as what ``kind``, a struct of the model or a container of them, says that it is."""
    kind = _plain(kind)
    if value is None:
        return _nil(kind)
    if isinstance(value, dict):
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return _struct(value, kind, type_name)
        item_kind = get_args(kind)[1] if get_origin(kind) is dict else Any
        return OpenMap({key: typed(item, item_kind) for key, item in value.items()})
    if isinstance(value, list):
        item_kind = get_args(kind)[0] if get_origin(kind) is list else Any
        return [typed(item, item_kind) for item in value]
    return value


def _struct(value: dict[str, Any], kind: type[msgspec.Struct], type_name: str) -> GoStruct:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    values = {key: typed(item, known.get(key, Any)) for key, item in value.items()}
    zeros = {
        name: NIL if name in POINTERS else _zero(field_kind) for name, field_kind in known.items() if name not in value
    }
    return GoStruct(values, type_name, zeros)


def _plain(kind: Any) -> Any:  # noqa: ANN401 - a type form
    """Return the one type of an optional field that is not absence."""
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member not in (type(None), msgspec.UnsetType)]
        return members[0] if members else Any
    return kind


def _nil(kind: Any) -> Any:  # noqa: ANN401 - a type form
    """Return what null is for a type: an empty list or map of Go's, or a pointer to nothing."""
    origin = get_origin(kind)
    if origin is list:
        return NilSlice()
    if origin is dict:
        return NilMap()
    return None if kind is Any else NIL


def _zero(kind: Any) -> Any:  # noqa: ANN401 - a type form
    plain = _plain(kind)
    zeros: dict[Any, Any] = {str: "", int: 0, bool: False, float: 0.0}
    return zeros[plain] if plain in zeros else _nil(plain)
