"""Reads the contract in lexicons/, and says where a value departs from it.

A violation reads ``$.path[0].inside: reason`` and never repeats the value.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

Schema = dict[str, Any]
Kind = Literal["query", "procedure", "subscription"]

LEXICONS = Path(__file__).resolve().parents[2] / "lexicons"
NO_FIELDS: Schema = {"type": "object", "properties": {}}

_DID = r"did:[a-z]+:[A-Za-z0-9._:%-]*[A-Za-z0-9._-]"
_DOMAIN = r"[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)+"
_NSID = rf"{_DOMAIN}\.[A-Za-z][A-Za-z0-9]*"
_FORMATS = {
    "did": re.compile(_DID),
    "nsid": re.compile(_NSID),
    "uri": re.compile(r"[a-z][a-z0-9+.-]{0,80}:\S+"),
    "at-uri": re.compile(rf"at://(?:{_DID}|{_DOMAIN})(?:/{_NSID}(?:/[A-Za-z0-9._~:-]+)?)?"),
    "datetime": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"),
}


@cache
def _documents() -> dict[str, Schema]:
    files = sorted(LEXICONS.rglob("*.json"))
    return {read["id"]: read for read in (json.loads(file.read_bytes()) for file in files)}


def document(nsid: str) -> Schema:
    """The whole document of an NSID; KeyError when there is none."""
    return _documents()[nsid]


def methods() -> frozenset[str]:
    """The NSIDs that can be called."""
    return frozenset(nsid for nsid in _documents() if _main(nsid).get("type") in get_args(Kind))


def kind(nsid: str) -> Kind:
    """How a method is called; KeyError when the NSID names no method."""
    return cast(Kind, _main(nsid)["type"])


def error_names(nsid: str) -> frozenset[str]:
    """The errors a method declares; those that any method may answer are not among them."""
    return frozenset(error["name"] for error in _main(nsid).get("errors", ()))


def parameters(nsid: str) -> Schema:
    """What a method takes in its query string; no fields when it declares none."""
    return cast(Schema, _main(nsid).get("parameters", NO_FIELDS))


def input_schema(nsid: str) -> Schema:
    """The body a method takes; no fields when it declares none."""
    return cast(Schema, _main(nsid).get("input", {}).get("schema", NO_FIELDS))


def resolve(reference: str, nsid: str) -> tuple[str, Schema]:
    """The definition that a reference inside the document ``nsid`` means, after the document it stands in."""
    target, _, name = reference.partition("#")
    return target or nsid, document(target or nsid)["defs"][name or "main"]


def violations(nsid: str, value: Any) -> list[str]:
    """Every place where an answer departs from the method's output; empty when it keeps the contract."""
    schema = _main(nsid).get("output", {}).get("schema", NO_FIELDS)
    return ["$" + found for found in _check(schema, value, nsid)]


def def_violations(nsid: str, name: str, value: Any) -> list[str]:
    """The same for a value that should have the shape of one named definition."""
    return ["$" + found for found in _ref({"ref": f"#{name}"}, value, nsid)]


def event_violations(nsid: str, name: str, value: Any) -> list[str]:
    """The same for an event as a stream sends it, with the ``$type`` of its definition."""
    return ["$" + found for found in _union({"refs": [f"#{name}"]}, value, nsid)]


def _main(nsid: str) -> Schema:
    return cast(Schema, document(nsid)["defs"].get("main", {}))


def _check(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    """What is wrong, by path and reason; each container puts its own step in front."""
    if value is None:
        yield ": null"
        return
    yield from _CHECKS[schema["type"]](schema, value, nsid)
    if "const" in schema and value != schema["const"]:
        yield f": not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f": not one of {schema['enum']}"


def _boolean(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield ": not a boolean"


def _integer(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield ": not an integer"
    else:
        yield from _within(schema, "minimum", "maximum", value)


def _string(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield ": not a string"
        return
    yield from _within(schema, "minLength", "maxLength", len(value.encode()))
    # Code points are never fewer than graphemes, so this errs on the strict side.
    yield from _within(schema, "minGraphemes", "maxGraphemes", len(value))
    if "format" in schema and not _has_format(schema["format"], value):
        yield f": not a {schema['format']}"


def _bytes(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    data = _decoded(value)
    if data is None:
        yield ': not {"$bytes": padded base64 on one line}'
    else:
        yield from _within(schema, "minLength", "maxLength", len(data))


def _array(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield ": not a list"
        return
    yield from _within(schema, "minLength", "maxLength", len(value))
    for index, item in enumerate(value):
        yield from (f"[{index}]{found}" for found in _check(schema["items"], item, nsid))


def _object(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield ": not an object"
        return
    declared = schema["properties"]
    yield from (f".{name}: missing" for name in schema.get("required", ()) if name not in value)
    yield from (f".{name}: not declared" for name in value if name not in declared)
    for name in (name for name in declared if name in value):
        yield from (f".{name}{found}" for found in _check(declared[name], value[name], nsid))


def _ref(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    target, definition = resolve(schema["ref"], nsid)
    yield from _check(definition, value, target)


def _union(schema: Schema, value: Any, nsid: str) -> Iterator[str]:
    """Unions count as closed: what is sent has one of the declared types."""
    types = {nsid + ref if ref.startswith("#") else ref: ref for ref in schema["refs"]}
    named = value.get("$type") if isinstance(value, dict) else None
    if not isinstance(named, str) or named not in types:
        yield f".$type: not one of {sorted(types)}"
        return
    yield from _ref({"ref": types[named]}, {name: value[name] for name in value if name != "$type"}, nsid)


def _within(schema: Schema, least: str, most: str, size: int) -> Iterator[str]:
    if not schema.get(least, size) <= size <= schema.get(most, size):
        yield f": {size} is outside {least} and {most}"


def _has_format(name: str, text: str) -> bool:
    try:
        day_exists = name != "datetime" or bool(datetime.fromisoformat(text))
        return day_exists and bool(_FORMATS[name].fullmatch(text))
    except ValueError:
        return False


def _decoded(value: Any) -> bytes | None:
    """The bytes of a ``$bytes`` object, if their base64 is the one spelling that encoders write."""
    text = value.get("$bytes") if isinstance(value, dict) and len(value) == 1 else None
    try:
        data = base64.b64decode(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return data if data is not None and base64.b64encode(data).decode() == text else None


_CHECKS: dict[str, Callable[[Schema, Any, str], Iterator[str]]] = {
    check.__name__[1:]: check for check in (_array, _boolean, _bytes, _integer, _object, _ref, _string, _union)
}
