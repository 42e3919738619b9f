"""Procedure and Query: authenticate, validate, call one function, answer; and the one error renderer."""

import logging
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, ClassVar

import orjson
import psycopg
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catbird_mls.xrpc.auth import Caller, authenticate
from catbird_mls.xrpc.body import JsonParser, JsonRenderer
from catbird_mls.xrpc.errors import (
    InternalServerError,
    InvalidRequest,
    MethodNotImplemented,
    NotEnoughResources,
    XrpcError,
)
from catbird_mls.xrpc.limits import LimitState, named_device, named_items, require_allowed
from catbird_mls.xrpc.meters import count_call, count_unknown_method

logger = logging.getLogger(__name__)


class Endpoint(APIView):
    """What both kinds of method share; subclasses name an NSID, an input and a handler."""

    nsid: ClassVar[str]
    verb: ClassVar[str]
    parser_classes = (JsonParser,)
    renderer_classes = (JsonRenderer,)

    Input: ClassVar[type[serializers.Serializer[Any]]] = serializers.Serializer

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        began = perf_counter()
        response = super().dispatch(request, *args, **kwargs)
        count_call(self.nsid, response.status_code, perf_counter() - began)
        return response

    def handle(self, caller: Caller, **given: Any) -> Mapping[str, Any]:
        raise NotImplementedError

    @staticmethod
    def quick(given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The input read at once when it is as clients send it; None leaves it to ``Input``."""
        return None

    @staticmethod
    async def handle_swiftly(desk: Any, caller: Caller, **given: Any) -> Mapping[str, Any] | None:
        """The answer of a method that the front lists, in the event loop; None leaves the call to the view."""
        return None

    def answer(self, request: Request, data: Callable[[], Any]) -> Response:
        """Who is calling comes before what is asked, so that strangers do not have bodies parsed."""
        caller, left, asked = self._admit(request, data)
        given = self.Input(data=asked)
        given.is_valid(raise_exception=True)
        return Response(without_nulls(self.handle(caller, **given.validated_data)), headers=left.headers)

    def _admit(self, request: Request, data: Callable[[], Any]) -> tuple[Caller, LimitState, Any]:
        """A call that the front has let in is not counted again, and its token has been spent by that."""
        admitted: tuple[Caller, LimitState] | None = getattr(request._request, "admitted", None)
        if admitted is not None:
            return *admitted, data()
        address = request.META.get("REMOTE_ADDR")
        header = request.headers.get("Authorization")
        caller = authenticate(header, self.nsid, procedure=self.verb == "POST", address=address)
        asked = data()
        left = require_allowed(caller, self.nsid, device=named_device(asked), items=named_items(asked))
        return caller, left, asked

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        raise InvalidRequest(f"{self.nsid} is called with {self.verb}.")


class Procedure(Endpoint):
    verb = "POST"

    def post(self, request: Request) -> Response:
        return self.answer(request, lambda: request.data)


class Query(Endpoint):
    verb = "GET"

    def get(self, request: Request) -> Response:
        return self.answer(request, lambda: request.query_params)


def without_nulls(value: Any) -> Any:
    """The wire omits what is absent; strict decoders fail on ``null``."""
    if isinstance(value, Mapping):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(member) for member in value]
    return value


def render_error(error: Exception, context: Mapping[str, Any]) -> Response:
    """Every refusal as ``{"error": Name, "message": sentence}``; anything unforeseen as a 500 without detail."""
    known = known_error(error)
    return Response(known.body(), status=known.status, headers=known.headers)


def known_error(error: Exception) -> XrpcError:
    """What the caller is told of an error; the unforeseen ones are logged."""
    known = _as_xrpc_error(error)
    if known is None:
        logger.error("unhandled error", exc_info=error)
        known = InternalServerError("Something went wrong on our side.")
    return known


def _as_xrpc_error(error: Exception) -> XrpcError | None:
    if isinstance(error, XrpcError):
        return error
    if isinstance(error, OperationalError | psycopg.OperationalError):
        return NotEnoughResources("The database cannot be reached; ask again in a moment.")
    if isinstance(error, exceptions.ValidationError):
        return InvalidRequest(first_reason(error.detail))
    if isinstance(error, exceptions.APIException) and error.status_code < 500:
        return InvalidRequest(str(error.detail))
    return None


def first_reason(detail: Any, path: str = "") -> str:
    """The first complaint of a serializer, with the place it is about."""
    if isinstance(detail, Mapping):
        name, inner = next(iter(detail.items()))
        return first_reason(inner, f"{path}.{name}" if path else str(name))
    if isinstance(detail, list):
        return first_reason(detail[0], path)
    return f"{path}: {detail}" if path else str(detail)


def error_response(error: XrpcError) -> HttpResponse:
    return HttpResponse(
        orjson.dumps(error.body()), status=error.status, content_type="application/json", headers=error.headers
    )


def unknown_method(request: HttpRequest, nsid: str) -> HttpResponse:
    """What clients read as "feature absent, use the fallback"."""
    count_unknown_method(MethodNotImplemented.status)
    return error_response(MethodNotImplemented(f"{nsid} is not implemented."))
