"""Apple's push service: HTTP/2, with a provider token that is signed here (ES256)."""

import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx
import jwt
import orjson

from catbird_mls.xrpc.meters import PushProvider
from delivery.providers import KEPT_SECONDS, Bearer, CredentialsUnusable, Outcome, failure, http_client

# Apple refuses tokens older than an hour, and more than one in twenty minutes.
PROVIDER_TOKEN_SECONDS = 40 * 60
GONE = frozenset({"BadDeviceToken", "Unregistered", "ExpiredToken"})
# The client's extension puts what it has fetched and decrypted in the place of these words.
SHOWN = orjson.dumps(
    {"aps": {"alert": {"body": "Something is waiting for you."}, "mutable-content": 1, "content-available": 1}}
)
QUIET = orjson.dumps({"aps": {"content-available": 1}})


@dataclass(frozen=True, slots=True)
class ApnsConfig:
    url: str
    key_file: str
    key_id: str
    team_id: str
    topic: str


class Apns:
    name: PushProvider = "apns"

    def __init__(self, config: ApnsConfig) -> None:
        self.config = config
        self.client = http_client(config.url, http1=False)
        self.bearer = Bearer(self._provider_token)

    async def send(self, token: str, *, quiet: bool) -> Outcome:
        try:
            headers = self._headers(await self.bearer.value(), quiet=quiet)
            response = await self.client.post(f"/3/device/{token}", headers=headers, content=QUIET if quiet else SHOWN)
        except CredentialsUnusable as error:
            return Outcome("retry", str(error))
        except httpx.RequestError as error:
            return Outcome("retry", type(error).__name__)
        return self._outcome(response)

    def _outcome(self, response: httpx.Response) -> Outcome:
        if response.is_success:
            return Outcome("sent")
        reason = _reason(response)
        if response.status_code == HTTPStatus.GONE or reason in GONE:
            return Outcome("gone", reason)
        if response.status_code == HTTPStatus.FORBIDDEN:
            self.bearer.forget()
            return Outcome("retry", f"403 {reason}")
        return failure(response, reason)

    def _headers(self, bearer: str, *, quiet: bool) -> dict[str, str]:
        return {
            "authorization": f"bearer {bearer}",
            "apns-topic": self.config.topic,
            "apns-push-type": "background" if quiet else "alert",
            "apns-priority": "5" if quiet else "10",
            # Apple keeps one of each for a device; a quiet one must not take the place of one that is shown.
            "apns-collapse-id": "upkeep" if quiet else "waiting",
            "apns-expiration": str(int(time.time()) + KEPT_SECONDS),
        }

    async def _provider_token(self) -> tuple[str, float]:
        claims = {"iss": self.config.team_id, "iat": int(time.time())}
        try:
            key = Path(self.config.key_file).read_text()
            token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": self.config.key_id})
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise CredentialsUnusable(f"key file: {type(error).__name__}") from None
        return token, PROVIDER_TOKEN_SECONDS


def _reason(response: httpx.Response) -> str:
    try:
        return str(orjson.loads(response.content)["reason"])
    except (ValueError, TypeError, KeyError):
        return ""
