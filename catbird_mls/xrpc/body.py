"""JSON in and out."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.conf import settings
from rest_framework import parsers, renderers

from catbird_mls.xrpc.errors import InvalidRequest, PayloadTooLarge


class JsonParser(parsers.BaseParser):
    media_type = "*/*"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = stream.read(settings.REQUEST_MAX_BYTES + 1)
        if len(body) > settings.REQUEST_MAX_BYTES:
            raise PayloadTooLarge(f"A request body is at most {settings.REQUEST_MAX_BYTES} bytes.")
        return read_object(body)


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object; ``null`` counts as absent, because clients of both kinds exist."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidRequest("The body is not valid JSON.") from None
    if not isinstance(given, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return {name: value for name, value in given.items() if value is not None}


class JsonRenderer(renderers.BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return orjson.dumps(data)
