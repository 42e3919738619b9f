"""Rules a reader may rely on, checked on the syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_framework import serializers

from catbird_mls.asgi import STREAMS
from catbird_mls.xrpc import errors, lexicon
from catbird_mls.xrpc.errors import XrpcError
from catbird_mls.xrpc.fields import HexField
from catbird_mls.xrpc.views import Endpoint
from conversations.urls import ENDPOINTS as CONVERSATIONS
from keypackages.urls import ENDPOINTS as KEYPACKAGES

ROOT = Path(__file__).resolve().parents[2]
APPS = ("catbird_mls", "conversations", "keypackages", "delivery", "journal")
ENDPOINTS = [*CONVERSATIONS, *KEYPACKAGES]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
LOCKING_FILES = {"locks.py", "fanout.py"}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*.py") if "migrations" not in path.parts)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def input_of(endpoint: type[Endpoint]) -> dict[str, Any]:
    return (lexicon.input_schema if endpoint.verb == "POST" else lexicon.parameters)(endpoint.nsid)


def text_limit(rule: dict[str, Any]) -> int | None:
    """In characters; where people read the text the lexicon counts graphemes."""
    return rule.get("maxGraphemes", rule.get("maxLength"))


def subclasses(kind: type[XrpcError]) -> Iterator[type[XrpcError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_the_server_cannot_decrypt_because_it_does_not_import_what_could() -> None:
    for path in sources(*APPS):
        assert not any(name.startswith("openmls.client") for name in imported(path)), path


def test_only_framing_reads_mls() -> None:
    for path in sources(*APPS):
        if path.name != "framing.py":
            assert not any(name.split(".")[0] == "openmls" for name in imported(path)), path


def test_sdk_and_server_never_import_each_other() -> None:
    for path in sources("sdk/catbird"):
        assert not any(name.split(".")[0] in {*APPS, "django"} for name in imported(path)), path
    for path in sources(*APPS):
        assert not any(name.split(".")[0] == "catbird" for name in imported(path)), path


def test_rows_are_locked_in_few_places() -> None:
    for path in sources(*APPS):
        if path.name not in LOCKING_FILES:
            assert "select_for_update" not in path.read_text(), path


def test_the_environment_is_read_in_one_module() -> None:
    for path in sources(*APPS):
        if path.name != "settings.py":
            assert "os.environ.get" not in path.read_text(), path
            assert "os.getenv" not in path.read_text(), path


def test_endpoints_and_lexicons_are_the_same_set() -> None:
    served = {endpoint.nsid for endpoint in ENDPOINTS} | {path.removeprefix("/xrpc/") for path in STREAMS}
    assert served == lexicon.methods()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.__name__)
def test_an_endpoint_answers_to_the_verb_of_its_lexicon(endpoint: type[Endpoint]) -> None:
    assert (endpoint.verb == "POST") == (lexicon.kind(endpoint.nsid) == "procedure")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.__name__)
def test_an_input_is_the_lexicons(endpoint: type[Endpoint]) -> None:
    """Same fields, same required ones."""
    schema = input_of(endpoint)
    fields = endpoint.Input().fields
    assert set(fields) == set(schema.get("properties", {}))
    assert {name for name, field in fields.items() if field.required} == set(schema.get("required", []))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.__name__)
def test_an_inputs_limits_are_the_lexicons(endpoint: type[Endpoint]) -> None:
    rules = input_of(endpoint).get("properties", {})
    for name, field in endpoint.Input().fields.items():
        if isinstance(field, serializers.CharField) and (limit := text_limit(rules[name])):
            assert field.max_length in {None, limit // 2 if isinstance(field, HexField) else limit}, name
        if isinstance(field, serializers.IntegerField) and "minimum" in rules[name]:
            assert field.min_value in {None, rules[name]["minimum"]}, name


def test_every_error_is_declared_by_some_lexicon_or_generic() -> None:
    declared = {name for nsid in lexicon.methods() for name in lexicon.error_names(nsid)} | errors.GENERIC_NAMES
    kinds = {kind.__name__ for kind in subclasses(XrpcError) if not kind.__subclasses__()}
    assert kinds <= declared


def test_files_and_functions_stay_readable() -> None:
    for path in sources(*APPS, "sdk/catbird"):
        text = path.read_text()
        assert text.count("\n") <= FILE_LINES_MAX, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, f"{path}: {node.name}"
