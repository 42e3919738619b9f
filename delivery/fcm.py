"""Google's push service: HTTP v1, with an access token that is got for a signed assertion (RS256)."""

import time
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
import orjson

from catbird_mls.xrpc.meters import PushProvider
from delivery.providers import (
    KEPT_SECONDS,
    Bearer,
    CredentialsUnusable,
    Outcome,
    failure,
    http_client,
)

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_SECONDS = 3600
# Renewed this long before it ends, so that it never ends on the way.
MARGIN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class FcmConfig:
    url: str
    service_account_file: str


class ServiceAccount(msgspec.Struct, frozen=True):
    """What matters of the file that Google gives out."""

    project_id: str
    client_email: str
    private_key: str
    private_key_id: str
    token_uri: str


class AccessToken(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: int


class Fcm:
    name: PushProvider = "fcm"

    def __init__(self, config: FcmConfig) -> None:
        self.config = config
        self.client = http_client(config.url, http1=True)
        self.bearer = Bearer(self._access_token)

    async def send(self, token: str, *, quiet: bool) -> Outcome:
        try:
            response = await self._post(token, quiet=quiet)
        except CredentialsUnusable as error:
            return Outcome("retry", str(error))
        except httpx.RequestError as error:
            return Outcome("retry", type(error).__name__)
        return self._outcome(response)

    async def _post(self, token: str, *, quiet: bool) -> httpx.Response:
        headers = {"authorization": f"Bearer {await self.bearer.value()}", "content-type": "application/json"}
        path = f"/v1/projects/{self._account.project_id}/messages:send"
        content = orjson.dumps({"message": message(token, quiet=quiet)})
        return await self.client.post(path, headers=headers, content=content)

    def _outcome(self, response: httpx.Response) -> Outcome:
        if response.is_success:
            return Outcome("sent")
        reason = _reason(response)
        if response.status_code == HTTPStatus.NOT_FOUND and reason == "UNREGISTERED":
            return Outcome("gone", reason)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self.bearer.forget()
            return Outcome("retry", f"401 {reason}")
        return failure(response, reason)

    async def _access_token(self) -> tuple[str, float]:
        """Ask Google for one, for an hour as a rule."""
        form = {"grant_type": GRANT_TYPE, "assertion": self._assertion(self._account)}
        response = await self.client.post(self._account.token_uri, data=form)
        try:
            granted = msgspec.json.decode(response.content, type=AccessToken)
        except msgspec.MsgspecError:
            raise CredentialsUnusable(f"no access token: {response.status_code}") from None
        return granted.access_token, granted.expires_in - MARGIN_SECONDS

    def _assertion(self, account: ServiceAccount) -> str:
        now = int(time.time())
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        }
        try:
            headers = {"kid": account.private_key_id}
            return jwt.encode(claims, account.private_key, algorithm="RS256", headers=headers)
        except (ValueError, jwt.PyJWTError) as error:
            raise CredentialsUnusable(f"private key: {type(error).__name__}") from None

    @cached_property
    def _account(self) -> ServiceAccount:
        try:
            return msgspec.json.decode(Path(self.config.service_account_file).read_bytes(), type=ServiceAccount)
        except (OSError, msgspec.MsgspecError) as error:
            raise CredentialsUnusable(f"service account file: {type(error).__name__}") from None


def message(token: str, *, quiet: bool) -> dict[str, Any]:
    """A data message wakes the app; several that wait become one."""
    urgency = {"ttl": f"{KEPT_SECONDS}s", "collapse_key": "upkeep" if quiet else "waiting"}
    return {
        "token": token,
        "data": {"waiting": "1"},
        "android": {**urgency, "priority": "normal" if quiet else "high"},
        "webpush": {"headers": {"TTL": str(KEPT_SECONDS), "Urgency": "low" if quiet else "high"}},
    }


def _reason(response: httpx.Response) -> str:
    """The code of FCM when there is one, else the status of Google's APIs."""
    try:
        error = orjson.loads(response.content)["error"]
        codes = [detail["errorCode"] for detail in error.get("details", []) if "errorCode" in detail]
        return str(codes[0] if codes else error.get("status", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
