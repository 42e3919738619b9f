"""The documents in lexicons/ are well formed, and every departure from them is noticed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from catbird_mls.xrpc import lexicon

NAMESPACE = "blue.catbird.mls"
FILES = sorted(lexicon.LEXICONS.rglob("*.json"))
NSIDS = [".".join(file.relative_to(lexicon.LEXICONS).with_suffix("").parts) for file in FILES]
METHODS = sorted(lexicon.methods())

ENOUGH_TO_CHAT = {
    "registerDevice",
    "listDevices",
    "deleteDevice",
    "publishKeyPackage",
    "publishKeyPackages",
    "getKeyPackages",
    "getKeyPackageStats",
    "createConvo",
    "addMembers",
    "getWelcome",
    "confirmWelcome",
    "getConvos",
    "sendMessage",
    "getMessages",
    "getCommits",
    "getEpoch",
    "leaveConvo",
    "removeMember",
    "streamConvoEvents",
}
GENERIC_ERRORS = {
    "InvalidRequest",
    "AuthenticationRequired",
    "InvalidToken",
    "ExpiredToken",
    "Forbidden",
    "PayloadTooLarge",
    "RateLimitExceeded",
    "InternalServerError",
    "NotEnoughResources",
    "MethodNotImplemented",
    "UpstreamFailure",
    "UpstreamTimeout",
}
LENGTHS = {"minLength", "maxLength"}
KEYWORDS = {
    "array": {"items", *LENGTHS},
    "boolean": {"default"},
    "bytes": LENGTHS,
    "integer": {"minimum", "maximum", "default"},
    "object": {"required", "properties"},
    "params": {"required", "properties"},
    "ref": {"ref"},
    "string": {"format", "enum", "knownValues", "const", "default", "minGraphemes", "maxGraphemes", *LENGTHS},
    "union": {"refs"},
}


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a document, wherever it stands."""
    if isinstance(node, dict):
        # A property may be called "type" itself.
        if isinstance(node.get("type"), str) and node["type"] in KEYWORDS:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for member in node:
            yield from schemas(member)


def short(name: str) -> str:
    return f"{NAMESPACE}.{name}"


@pytest.mark.parametrize(("file", "nsid"), list(zip(FILES, NSIDS, strict=True)), ids=NSIDS)
def test_a_document_is_named_as_its_file_and_spelled_one_way(file: Any, nsid: str) -> None:
    text = file.read_text()
    read = json.loads(text)
    assert (read["lexicon"], read["id"]) == (1, nsid)
    assert text == json.dumps(read, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("nsid", NSIDS)
def test_every_reference_resolves(nsid: str) -> None:
    for schema in schemas(lexicon.document(nsid)):
        for reference in [schema["ref"]] if "ref" in schema else schema.get("refs", []):
            target, definition = lexicon.resolve(reference, nsid)
            assert target in NSIDS
            assert definition["type"] in KEYWORDS


@pytest.mark.parametrize("nsid", NSIDS)
def test_schemas_use_known_keywords_and_require_what_they_declare(nsid: str) -> None:
    for schema in schemas(lexicon.document(nsid)):
        assert schema.keys() <= {"type", "description"} | KEYWORDS[schema["type"]]
        assert set(schema.get("required", ())) <= schema.get("properties", {}).keys()
        assert schema.get("minimum", 0) <= schema.get("maximum", 2**53)
        assert schema.get("minLength", 0) <= schema.get("maxLength", 2**53)


@pytest.mark.parametrize("nsid", NSIDS)
def test_everything_is_described(nsid: str) -> None:
    document = lexicon.document(nsid)
    named = {name: schema for name, schema in document["defs"].items() if name != "main"}
    fields = {
        name: field
        for schema in schemas(document)
        for name, field in schema.get("properties", {}).items()
        if "description" not in field
    }
    assert document.get("description") or document["defs"]["main"]["description"]
    assert [name for name, schema in named.items() if not schema.get("description")] == []
    assert fields == {}


@pytest.mark.parametrize("nsid", METHODS)
def test_errors_are_declared_once_and_never_the_generic_ones(nsid: str) -> None:
    errors = lexicon.document(nsid)["defs"]["main"].get("errors", [])
    assert len(errors) == len(lexicon.error_names(nsid))
    assert not lexicon.error_names(nsid) & GENERIC_ERRORS
    assert all(error["name"].isidentifier() and error["name"][0].isupper() for error in errors)
    assert all(error["description"] for error in errors)


@pytest.mark.parametrize("nsid", METHODS)
def test_procedures_take_a_body_queries_take_parameters_and_both_answer(nsid: str) -> None:
    main = lexicon.document(nsid)["defs"]["main"]
    assert lexicon.kind(nsid) == main["type"]
    assert ("input" in main, "parameters" in main) == (
        main["type"] == "procedure",
        main["type"] != "procedure",
    )
    answered = main["message" if main["type"] == "subscription" else "output"]
    assert answered["schema"]["type"] in {"object", "ref", "union"}


def test_the_methods_are_those_a_client_needs_to_chat_at_least() -> None:
    assert {short(name) for name in ENOUGH_TO_CHAT} <= lexicon.methods()
    assert set(NSIDS) - lexicon.methods() == {short("defs")}


def test_what_is_not_declared_is_an_error_to_ask_for() -> None:
    with pytest.raises(KeyError):
        lexicon.document(short("nowhere"))
    with pytest.raises(KeyError):
        lexicon.kind(short("defs"))


def test_a_method_without_input_or_parameters_takes_no_fields() -> None:
    assert lexicon.input_schema(short("getEpoch"))["properties"] == {}
    assert lexicon.parameters(short("sendMessage"))["properties"] == {}
    assert set(lexicon.parameters(short("getEpoch"))["required"]) == {"convoId"}
    assert "msgId" in lexicon.input_schema(short("sendMessage"))["required"]


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("sendMessage.msgId", {"minLength": 1, "maxLength": 64}),
        ("sendMessage.idempotencyKey", {"maxLength": 64}),
        ("sendMessage.ciphertext", {"minLength": 1, "maxLength": 10 * 1024 * 1024}),
        ("removeMember.idempotencyKey", {"maxLength": 64}),
        ("addMembers.didList", {"maxLength": 50}),
        ("createConvo.initialMembers", {"maxLength": 999}),
        ("registerDevice.signaturePublicKey", {"maxLength": 133}),
        ("registerDevice.deviceName", {"minLength": 1, "maxLength": 400, "maxGraphemes": 100}),
        ("publishKeyPackage.keyPackage", {"maxLength": 65536}),
    ],
)
def test_limits_are_the_widest_that_clients_use(name: str, limits: dict[str, int]) -> None:
    method, _, field = name.partition(".")
    declared = lexicon.input_schema(short(method))["properties"][field]
    assert {key: value for key, value in declared.items() if key.startswith(("min", "max"))} == limits


EVERYTHING = "org.example.everything"
INNER = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
FIELDS: dict[str, Any] = {
    "integer": {"type": "integer", "minimum": 1, "maximum": 9},
    "boolean": {"type": "boolean"},
    "string": {"type": "string", "minLength": 2, "maxLength": 4},
    "graphemes": {"type": "string", "minGraphemes": 1, "maxGraphemes": 2},
    "enum": {"type": "string", "enum": ["a", "b"]},
    "known": {"type": "string", "knownValues": ["a", "b"]},
    "const": {"type": "string", "const": "a"},
    "did": {"type": "string", "format": "did"},
    "datetime": {"type": "string", "format": "datetime"},
    "uri": {"type": "string", "format": "uri"},
    "at-uri": {"type": "string", "format": "at-uri"},
    "nsid": {"type": "string", "format": "nsid"},
    "bytes": {"type": "bytes", "minLength": 1, "maxLength": 3},
    "array": {"type": "array", "items": {"type": "integer"}, "minLength": 1, "maxLength": 2},
    "object": INNER,
    "local": {"type": "ref", "ref": "#inner"},
    "document": {"type": "ref", "ref": short("defs#convoMetadata")},
    "main": {"type": "ref", "ref": "org.example.string"},
    "union": {"type": "union", "refs": ["#inner", short("defs#convoMetadata")]},
}
GOOD: dict[str, Any] = {
    "integer": 9,
    "boolean": False,
    "string": "éé",
    "graphemes": "éé",
    "enum": "b",
    "known": "something else",
    "const": "a",
    "did": "did:web:localhost%3A3000",
    "datetime": "2026-02-28T23:59:59.000Z",
    "uri": "wss://example.org/xrpc",
    "at-uri": "at://did:plc:abc/app.bsky.graph.block/3k",
    "nsid": "blue.catbird.mls.getEpoch",
    "bytes": {"$bytes": "AAE="},
    "array": [1, 2],
    "object": {"n": 0},
    "local": {"n": 0},
    "document": {"name": "Birds"},
    "main": "text",
    "union": {"$type": "org.example.everything#inner", "n": 0},
}


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document with every type and limit that a lexicon can use."""
    outputs = {
        EVERYTHING: {"type": "object", "required": ["integer"], "properties": FIELDS},
        f"{EVERYTHING}.silent": None,
    }
    for nsid, schema in outputs.items():
        main = {"type": "query", **({"output": {"schema": schema}} if schema else {})}
        monkeypatch.setitem(lexicon._documents(), nsid, {"id": nsid, "defs": {"main": main, "inner": INNER}})
    string = {"id": "org.example.string", "defs": {"main": {"type": "string"}}}
    monkeypatch.setitem(lexicon._documents(), "org.example.string", string)


@pytest.mark.usefixtures("everything")
def test_an_answer_that_keeps_the_contract_has_no_violations() -> None:
    assert lexicon.violations(EVERYTHING, GOOD) == []
    assert lexicon.violations(EVERYTHING, {"integer": 1}) == []
    assert lexicon.violations(f"{EVERYTHING}.silent", {}) == []


@pytest.mark.usefixtures("everything")
def test_all_violations_are_told_at_once() -> None:
    found = lexicon.violations(EVERYTHING, {"boolean": None, "extra": 1})
    assert found == ["$.integer: missing", "$.extra: not declared", "$.boolean: null"]


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("answer", [None, [], "text", 1, True])
def test_an_answer_is_an_object(answer: Any) -> None:
    assert lexicon.violations(EVERYTHING, answer) == ["$: null" if answer is None else "$: not an object"]


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("field", GOOD)
def test_null_is_never_sent(field: str) -> None:
    assert lexicon.violations(EVERYTHING, GOOD | {field: None}) == [f"$.{field}: null"]


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("integer", 1.0, ": not an integer"),
        ("integer", True, ": not an integer"),
        ("integer", "1", ": not an integer"),
        ("integer", 0, ": 0 is outside minimum and maximum"),
        ("integer", 10, ": 10 is outside minimum and maximum"),
        ("boolean", 0, ": not a boolean"),
        ("boolean", "true", ": not a boolean"),
        ("string", 1, ": not a string"),
        ("string", "a", ": 1 is outside minLength and maxLength"),
        ("string", "ééé", ": 6 is outside minLength and maxLength"),
        ("graphemes", "", ": 0 is outside minGraphemes and maxGraphemes"),
        ("graphemes", "ééé", ": 3 is outside minGraphemes and maxGraphemes"),
        ("enum", "c", ": not one of ['a', 'b']"),
        ("const", "b", ": not 'a'"),
        ("did", "did:plc:abc#phone", ": not a did"),
        ("did", "did:plc:", ": not a did"),
        ("did", "did:PLC:abc", ": not a did"),
        ("did", "did:plc:abc\n", ": not a did"),
        ("datetime", "2026-02-28T23:59:59Z", ": not a datetime"),
        ("datetime", "2026-02-28T23:59:59.000000Z", ": not a datetime"),
        ("datetime", "2026-02-28T23:59:59.000+00:00", ": not a datetime"),
        ("datetime", "2026-02-28 23:59:59.000Z", ": not a datetime"),
        ("datetime", "2026-02-30T00:00:00.000Z", ": not a datetime"),
        ("datetime", "20260228T235959.000Z", ": not a datetime"),
        ("uri", "example.org", ": not a uri"),
        ("uri", "https://example.org/a b", ": not a uri"),
        ("at-uri", "https://example.org", ": not a at-uri"),
        ("at-uri", "at://did:plc:abc/block/3k", ": not a at-uri"),
        ("nsid", "getEpoch", ": not a nsid"),
        ("nsid", "blue.catbird.mls.get_epoch", ": not a nsid"),
        ("bytes", "AAE=", ': not {"$bytes": padded base64 on one line}'),
        ("bytes", {"$bytes": 1}, ': not {"$bytes": padded base64 on one line}'),
        ("bytes", {"$bytes": "AAE"}, ': not {"$bytes": padded base64 on one line}'),
        ("bytes", {"$bytes": "A\nAE="}, ': not {"$bytes": padded base64 on one line}'),
        ("bytes", {"$bytes": "_-E="}, ': not {"$bytes": padded base64 on one line}'),
        ("bytes", {"$bytes": "AAF="}, ': not {"$bytes": padded base64 on one line}'),
        ("bytes", {"$bytes": "é"}, ': not {"$bytes": padded base64 on one line}'),
        ("bytes", {"$bytes": "AAE=", "n": 1}, ': not {"$bytes": padded base64 on one line}'),
        ("bytes", {"$bytes": ""}, ": 0 is outside minLength and maxLength"),
        ("bytes", {"$bytes": "AAECAw=="}, ": 4 is outside minLength and maxLength"),
        ("array", {}, ": not a list"),
        ("array", [], ": 0 is outside minLength and maxLength"),
        ("array", [1, 2, 3], ": 3 is outside minLength and maxLength"),
        ("array", [1, None], "[1]: null"),
        ("array", [1, 2.5], "[1]: not an integer"),
        ("object", [], ": not an object"),
        ("object", {}, ".n: missing"),
        ("object", {"n": 1, "extra": 1}, ".extra: not declared"),
        ("object", {"n": 1, "$type": "org.example.everything#inner"}, ".$type: not declared"),
        ("local", {"n": "1"}, ".n: not an integer"),
        ("document", {"name": 1}, ".name: not a string"),
        ("main", 1, ": not a string"),
        ("union", {"$type": "org.example.everything#inner"}, ".n: missing"),
        ("union", {"$type": "blue.catbird.mls.defs#convoMetadata", "n": 0}, ".n: not declared"),
    ],
)
def test_one_violation_is_found(field: str, value: Any, complaint: str) -> None:
    assert lexicon.violations(EVERYTHING, GOOD | {field: value}) == [f"$.{field}{complaint}"]


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("value", ["text", {"n": 0}, {"$type": "#inner", "n": 0}, {"$type": []}])
def test_a_union_member_says_which_one_it_is(value: Any) -> None:
    (found,) = lexicon.violations(EVERYTHING, GOOD | {"union": value})
    assert found.startswith("$.union.$type: not one of ")


def test_a_local_reference_means_the_document_it_stands_in() -> None:
    convo = {"groupId": "00ff", "creator": "did:plc:abc", "epoch": 0, "cipherSuite": "MLS_128"}
    convo |= {"createdAt": "2026-02-28T23:59:59.000Z", "members": [{"did": "did:plc:abc"}]}
    found = lexicon.violations(short("createConvo"), convo)
    assert found == [f"$.members[0].{name}: missing" for name in ("userDid", "joinedAt", "isAdmin")]


STREAM = short("streamConvoEvents")
MESSAGE = {
    "id": "m1",
    "convoId": "00ff",
    "ciphertext": {"$bytes": "AAE="},
    "epoch": 0,
    "seq": 1,
    "createdAt": "2026-02-28T23:59:59.000Z",
    "messageType": "app",
}
EVENT = {"$type": f"{STREAM}#messageEvent", "type": "messageEvent", "cursor": "1", "message": MESSAGE}


def test_an_event_is_checked_against_its_own_definition() -> None:
    assert lexicon.event_violations(STREAM, "messageEvent", EVENT) == []
    assert lexicon.violations(STREAM, EVENT) == []
    (found,) = lexicon.event_violations(STREAM, "infoEvent", EVENT)
    assert found.startswith("$.$type: not one of ")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"type": "infoEvent"}, "$.type: not 'messageEvent'"),
        ({"cursor": 1}, "$.cursor: not a string"),
        ({"extra": 1}, "$.extra: not declared"),
        ({"message": MESSAGE | {"sender": "did:plc:abc"}}, "$.message.sender: not declared"),
        (
            {"message": MESSAGE | {"messageType": "text"}},
            "$.message.messageType: not one of ['app', 'commit', 'proposal']",
        ),
    ],
)
def test_an_event_that_departs_is_found(changes: dict[str, Any], complaint: str) -> None:
    assert lexicon.event_violations(STREAM, "messageEvent", EVENT | changes) == [complaint]


def test_a_conflict_tells_the_loser_what_it_needs() -> None:
    commit = {
        "epoch": 2,
        "sender": "did:plc:abc",
        "commitData": {"$bytes": ""},
        "createdAt": MESSAGE["createdAt"],
    }
    body = {"error": "EpochMismatch", "message": "Too late.", "currentEpoch": 2, "missedCommits": [commit]}
    body |= {"lastSeq": 3, "pendingProposals": [{"$bytes": "AAE="}], "cursor": "2", "yours": False}
    assert lexicon.def_violations(short("defs"), "conflictView", body) == []
    del body["currentEpoch"]
    assert lexicon.def_violations(short("defs"), "conflictView", body) == ["$.currentEpoch: missing"]
