"""The only module that reads the environment; docs/operating.md lists every variable read here."""

import os
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kombu import Queue

from catbird_mls import embedded
from catbird_mls.data_folder import make_folder

ROOT = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"


def _text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def _number(name: str, default: int) -> int:
    return int(_text(name, str(default)))


def _switch(name: str, *, default: bool) -> bool:
    return _text(name, "true" if default else "false").lower() in {"1", "true", "yes", "on"}


def _database(url: str) -> dict[str, Any]:
    """Django's form of a ``postgresql://`` URL, with the native connection pool."""
    parts = urlsplit(url)
    # Statements that a connection has sent a few times are kept by PostgreSQL with their plans.
    options: dict[str, Any] = {"server_side_binding": True, "prepare_threshold": 3}
    if CATBIRD_DATABASE_POOL:
        # A database that is back is found within seconds; until then callers are told so rather than kept.
        options["pool"] = {"min_size": 1, "max_size": CATBIRD_DATABASE_POOL, "timeout": 10, "reconnect_timeout": 5}
    for pair in filter(None, parts.query.split("&")):
        key, _, value = pair.partition("=")
        options[key] = unquote(value)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }


CATBIRD_ENV = _text("CATBIRD_ENV", "development")
PRODUCTION = CATBIRD_ENV == "production"
CATBIRD_DATA = Path(_text("CATBIRD_DATA", str(ROOT / ".catbird"))).resolve()
CATBIRD_POSTGRES_USER = _text("CATBIRD_POSTGRES_USER", "nobody")
CATBIRD_DATABASE_POOL = _number("CATBIRD_DATABASE_POOL", 16)
CATBIRD_FRONT_POOL = _number("CATBIRD_FRONT_POOL", 4)
CATBIRD_FRONT_THREADS = _number("CATBIRD_FRONT_THREADS", 16)
ENABLE_ACTOR_SYSTEM = _switch("ENABLE_ACTOR_SYSTEM", default=True)

SERVER_HOST = _text("CATBIRD_HOST", "127.0.0.1")
SERVER_PORT = _number("SERVER_PORT", 3000)
SERVICE_DID = _text("SERVICE_DID", "did:web:localhost")
CATBIRD_WEB_PROCESSES = _number("CATBIRD_WEB_PROCESSES", 1)
CATBIRD_WORKER_PROCESSES = _number("CATBIRD_WORKER_PROCESSES", 2)

JWT_SECRET = _text("JWT_SECRET") or ("" if PRODUCTION else embedded.kept_secret(CATBIRD_DATA, "jwt"))
CATBIRD_PLC_URL = _text("CATBIRD_PLC_URL", "https://plc.directory").rstrip("/")
CATBIRD_DID_CACHE_SECONDS = _number("CATBIRD_DID_CACHE_SECONDS", 300)
CATBIRD_ALLOW_PRIVATE_ADDRESSES = _switch("CATBIRD_ALLOW_PRIVATE_ADDRESSES", default=False)
SECRET_KEY = _text("CATBIRD_SECRET_KEY") or ("" if PRODUCTION else embedded.kept_secret(CATBIRD_DATA, "django"))
# Tells a repeated message from a clash without keeping who sent it; lives outside the database on purpose.
MESSAGE_TAG_KEY = _text("CATBIRD_MESSAGE_TAG_KEY") or (
    "" if PRODUCTION else embedded.kept_secret(CATBIRD_DATA, "message-tag")
)

_database_url = _text("DATABASE_URL")
_redis_url = _text("REDIS_URL")
EMBEDDED_POSTGRES = not _database_url
EMBEDDED_VALKEY = not _redis_url
if EMBEDDED_POSTGRES or EMBEDDED_VALKEY:
    _kept = embedded.addresses(CATBIRD_DATA)
    _database_url = _database_url or _kept.database_url
    _redis_url = _redis_url or _kept.redis_url

DATABASES = {"default": _database(_database_url)}
REDIS_URL = _redis_url
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "catbird",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CIPHERTEXT_MAX_BYTES = 10 * 1024 * 1024
REQUEST_MAX_BYTES = 16 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = REQUEST_MAX_BYTES
CATBIRD_MAX_MEMBERS = _number("CATBIRD_MAX_MEMBERS", 2000)
MESSAGE_TTL_DAYS = _number("MESSAGE_TTL_DAYS", 30)
CATBIRD_COMMIT_KEEP_DAYS = _number("CATBIRD_COMMIT_KEEP_DAYS", 90)
CATBIRD_EPOCH_WINDOW = _number("CATBIRD_EPOCH_WINDOW", 2)
CATBIRD_WELCOME_GRACE_SECONDS = _number("CATBIRD_WELCOME_GRACE_SECONDS", 300)
CATBIRD_WELCOME_STUCK_SECONDS = _number("CATBIRD_WELCOME_STUCK_SECONDS", 3600)
CATBIRD_DIRECTORY_KEEP_DAYS = _number("CATBIRD_DIRECTORY_KEEP_DAYS", 30)
CATBIRD_LOW_KEY_PACKAGES = _number("CATBIRD_LOW_KEY_PACKAGES", 10)
CATBIRD_ALLOW_KEY_CREDENTIALS = _switch("CATBIRD_ALLOW_KEY_CREDENTIALS", default=False)
# Newest first; the older ones still sign for groups that list them. Outside the database on purpose.
EXTERNAL_SENDER_SECRETS = tuple(filter(None, _text("CATBIRD_EXTERNAL_SENDER_SECRETS").replace(",", " ").split())) or (
    () if PRODUCTION else (embedded.kept_secret(CATBIRD_DATA, "external-sender"),)
)
CATBIRD_EXTERNAL_COMMITS_PERCENT = _number("CATBIRD_EXTERNAL_COMMITS_PERCENT", 100)
# A minute, by device and method; 0 is no limit.
RATE_LIMIT_SEND_MESSAGE = _number("RATE_LIMIT_SEND_MESSAGE", 100)
RATE_LIMIT_PUBLISH_KEY_PACKAGE = _number("RATE_LIMIT_PUBLISH_KEY_PACKAGE", 20)
RATE_LIMIT_ADD_MEMBERS = _number("RATE_LIMIT_ADD_MEMBERS", 10)
RATE_LIMIT_CREATE_CONVO = _number("RATE_LIMIT_CREATE_CONVO", 5)
RATE_LIMIT_REPORT_MEMBER = _number("RATE_LIMIT_REPORT_MEMBER", 5)
RATE_LIMIT_DID_DEFAULT = _number("RATE_LIMIT_DID_DEFAULT", 200)
RATE_LIMIT_IP_PER_MINUTE = _number("RATE_LIMIT_IP_PER_MINUTE", 60)
AUTH_RATE_LIMIT_PER_SECOND = _number("AUTH_RATE_LIMIT_PER_SECOND", 100)
RATE_LIMIT_KEY_PACKAGE_ITEMS = _number("RATE_LIMIT_KEY_PACKAGE_ITEMS", 400)
RATE_LIMIT_REJOIN = _number("RATE_LIMIT_REJOIN", 5)
RATE_LIMIT_EXTERNAL_COMMIT = _number("RATE_LIMIT_EXTERNAL_COMMIT", 5)
CATBIRD_STREAM_HEARTBEAT_SECONDS = _number("CATBIRD_STREAM_HEARTBEAT_SECONDS", 15)
CATBIRD_STREAM_LOOK_SECONDS = _number("CATBIRD_STREAM_LOOK_SECONDS", 20)
CATBIRD_STREAM_SEND_SECONDS = _number("CATBIRD_STREAM_SEND_SECONDS", 10)
CATBIRD_EPHEMERAL_MAX_BYTES = _number("CATBIRD_EPHEMERAL_MAX_BYTES", 64 * 1024)
CATBIRD_PUBLIC_URL = _text("CATBIRD_PUBLIC_URL").rstrip("/")

CATBIRD_APNS_KEY_FILE = _text("CATBIRD_APNS_KEY_FILE")
CATBIRD_APNS_KEY_ID = _text("CATBIRD_APNS_KEY_ID")
CATBIRD_APNS_TEAM_ID = _text("CATBIRD_APNS_TEAM_ID")
CATBIRD_APNS_TOPIC = _text("CATBIRD_APNS_TOPIC")
CATBIRD_APNS_URL = _text("CATBIRD_APNS_URL", "https://api.push.apple.com")
CATBIRD_FCM_SERVICE_ACCOUNT_FILE = _text("CATBIRD_FCM_SERVICE_ACCOUNT_FILE")
CATBIRD_FCM_URL = _text("CATBIRD_FCM_URL", "https://fcm.googleapis.com")
CATBIRD_PUSH_AGAIN_SECONDS = _number("CATBIRD_PUSH_AGAIN_SECONDS", 86_400)
# Devices of these platforms are pushed to, and no rows are written for any other.
PUSH_PLATFORMS = [
    *(["ios"] if all((CATBIRD_APNS_KEY_FILE, CATBIRD_APNS_KEY_ID, CATBIRD_APNS_TEAM_ID, CATBIRD_APNS_TOPIC)) else []),
    *(["android", "web"] if CATBIRD_FCM_SERVICE_ACCOUNT_FILE else []),
]

ENABLE_METRICS = _switch("ENABLE_METRICS", default=True)
METRICS_TOKEN = _text("METRICS_TOKEN")
CATBIRD_METRICS_DIR = Path(_text("CATBIRD_METRICS_DIR", str(CATBIRD_DATA / "metrics"))).resolve()
# A folder for each host, because files are named by process number and containers share those numbers.
METRICS_HOST_DIR = CATBIRD_METRICS_DIR / socket.gethostname()
if ENABLE_METRICS:
    for _folder in (CATBIRD_DATA, CATBIRD_METRICS_DIR, METRICS_HOST_DIR):
        make_folder(_folder)
    # prometheus_client looks at it once, when it is imported.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(METRICS_HOST_DIR)
else:
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

ROOT_URLCONF = "catbird_mls.urls"
ASGI_APPLICATION = "catbird_mls.asgi.application"
# The machine's own name for itself is what health checks call.
_hosts = f"{SERVICE_DID.removeprefix('did:web:')},localhost,127.0.0.1" if PRODUCTION else "*"
ALLOWED_HOSTS = _text("CATBIRD_ALLOWED_HOSTS", _hosts).split(",")
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
APPEND_SLASH = False

INSTALLED_APPS = [
    # Daphne takes over `runserver` and nothing else; every other process starts a second sooner without it.
    *(["daphne"] if "runserver" in sys.argv else []),
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_linear_migrations",
    "django_celery_beat",
    "rest_framework",
    "channels",
    "catbird_mls.apps.CatbirdConfig",
    "conversations",
    "keypackages",
    "delivery",
    "journal",
]
FIRST_PARTY_APPS = ["conversations", "keypackages", "delivery", "journal"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
STATIC_ROOT = CATBIRD_DATA / "static" if PRODUCTION else None
WHITENOISE_USE_FINDERS = not PRODUCTION
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SECURE_SSL_REDIRECT = False
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
SESSION_COOKIE_SECURE = PRODUCTION
CSRF_COOKIE_SECURE = PRODUCTION
# TLS ends before this server, so a redirect here would answer the proxy, not the client.
SILENCED_SYSTEM_CHECKS = ["security.W008"]

REST_FRAMEWORK: dict[str, Any] = {
    "EXCEPTION_HANDLER": "catbird_mls.xrpc.views.render_error",
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}

CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Connections stay open from task to task: see the application.
CELERY_DB_REUSE_MAX = sys.maxsize
CELERY_TASK_SOFT_TIME_LIMIT = 45
CELERY_TASK_TIME_LIMIT = 60
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A worker that is told nothing works off both. A provider that hangs holds up no fan-out where they are parted.
CELERY_TASK_QUEUES = [Queue("celery"), Queue("push")]
CELERY_TASK_ROUTES = {"delivery.tasks.push": {"queue": "push"}}
# A broker that is down must not hold a request: one quick try, the sweep finds the rest.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CATBIRD_SWEEP_SECONDS = _number("CATBIRD_SWEEP_SECONDS", 5)
CELERY_BEAT_SCHEDULE = {
    "delivery.sweep": {"task": "delivery.tasks.sweep", "schedule": float(CATBIRD_SWEEP_SECONDS)},
    "delivery.push": {"task": "delivery.tasks.push", "schedule": float(CATBIRD_SWEEP_SECONDS)},
    "delivery.measure": {"task": "delivery.tasks.measure", "schedule": 30.0},
    "keypackages.expire": {"task": "keypackages.tasks.expire", "schedule": 60.0},
    "keypackages.measure": {"task": "keypackages.tasks.measure", "schedule": 30.0},
    "keypackages.purge": {"task": "keypackages.tasks.purge", "schedule": 600.0},
    "conversations.ring_for_waiting": {"task": "conversations.tasks.ring_for_waiting", "schedule": 300.0},
    "conversations.expire_requests": {"task": "conversations.tasks.expire_requests", "schedule": 3600.0},
    "conversations.purge": {"task": "conversations.tasks.purge", "schedule": 60.0},
    "delivery.purge": {"task": "delivery.tasks.purge", "schedule": 600.0},
    "journal.purge": {"task": "journal.tasks.purge", "schedule": 600.0},
    "conversations.ask_for_group_infos": {"task": "conversations.tasks.ask_for_group_infos", "schedule": 30.0},
    "conversations.regenerate": {"task": "conversations.tasks.regenerate_group_infos", "schedule": 30.0},
    "conversations.note_epochs": {"task": "conversations.tasks.note_epochs", "schedule": 30.0},
    "conversations.notice_low_stock": {"task": "conversations.tasks.notice_low_stock", "schedule": 600.0},
}

UNFOLD = {
    "SITE_TITLE": "catbird-mls",
    "SITE_HEADER": "catbird-mls",
    "SITE_URL": None,
    "SITE_SYMBOL": "forum",
    "SIDEBAR": {"navigation": "catbird_mls.staff.navigation"},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "catbird_mls.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    # It writes down the address of every WebSocket, and in that address is a ticket.
    "root": {"handlers": ["stderr"], "level": _text("CATBIRD_LOG_LEVEL", "INFO")},
    # At lower levels they tell addresses and headers, which hold the tokens of devices and of providers, and accounts.
    "loggers": {name: {"level": "WARNING"} for name in ("httpx", "httpcore", "h2", "hpack", "uvicorn.error")},
}
