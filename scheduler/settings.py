"""Settings: from the environment, else from the embedded stack on this machine.

A script on a machine where ``schedulerx up`` runs (or ran) finds the stack by itself: what the environment
does not say is read from ``stack.json`` in the data folder.
"""

from __future__ import annotations

import functools
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.redaction import remember
from media.storage import StoreConfig
from scheduler import service_urls
from scheduler.errors import NotConfigured
from stack.home import StackError, default_home, given, home_of, load_stack

MOST_HOURS = 24 * 14
"""What is found earlier than that is forgotten again before it matters, and the posts to look at become many."""


def _blank_is_unset(value: Any) -> Any:
    """An empty variable is what a shell, compose or an env file makes of "not set"."""
    return (value.strip() or None) if isinstance(value, str) else value


def _secretly(check: Callable[[str], str]) -> AfterValidator:
    """``check`` for what must not be shown."""

    def checked(value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check(value.get_secret_value())
        return value

    return AfterValidator(checked)


def _openly(check: Callable[[str], str]) -> AfterValidator:
    """``check`` for what may be absent."""
    return AfterValidator(lambda value: None if value is None else check(value))


BLANK = BeforeValidator(_blank_is_unset)
Secret = Annotated[SecretStr | None, BLANK]
Word = Annotated[str | None, BLANK]
DatabaseUrl = Annotated[SecretStr | None, BLANK, _secretly(service_urls.database_url)]
RedisUrl = Annotated[SecretStr | None, BLANK, _secretly(service_urls.redis_url)]
WebUrl = Annotated[str | None, BLANK, _openly(service_urls.web_url)]
Bucket = Annotated[str | None, BLANK, _openly(service_urls.bucket)]
Home = Annotated[Path, BeforeValidator(lambda value: home_of(value) if isinstance(value, str) else value)]
"""Read as the stack reads it: whoever starts it and whoever looks for it must mean the same folder."""
SpoolId = Annotated[
    str, BeforeValidator(lambda value: (isinstance(value, str) and value.strip()) or socket.gethostname())
]


class Settings(BaseSettings):
    """Everything that can be set. Times are seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="SCHEDULERX_", extra="ignore", frozen=True)

    database_url: DatabaseUrl = Field(None, validation_alias="DATABASE_URL")
    redis_url: RedisUrl = Field(None, validation_alias="REDIS_URL")
    r2_endpoint_url: WebUrl = Field(None, validation_alias="R2_ENDPOINT_URL")
    r2_access_key_id: Word = Field(None, validation_alias="R2_ACCESS_KEY_ID")
    r2_secret_access_key: Secret = Field(None, validation_alias="R2_SECRET_ACCESS_KEY")
    r2_bucket: Bucket = Field(None, validation_alias="R2_BUCKET")
    r2_public_url: WebUrl = Field(None, validation_alias="R2_PUBLIC_URL")
    secret_key: Secret = None
    home: Home = Field(default_factory=default_home)

    # How late is still welcome.
    window_minutes: int = Field(60, ge=1, le=60 * 24 * 30)

    # What protects an account: no more than so many posts in so many seconds, whatever the platform allows.
    burst_count: int = Field(5, ge=1)
    burst_seconds: int = Field(300, ge=1)

    # Tries of one post that provably was not published, and the pauses between them.
    max_attempts: int = Field(6, ge=1)
    backoff_seconds: float = Field(30.0, gt=0)
    backoff_max_seconds: float = Field(1800.0, gt=0)
    max_claims: int = Field(4, ge=1)

    # Leases: a worker that is silent for so long has lost the row.
    queued_lease_seconds: float = Field(60.0, gt=0)
    prepare_lease_seconds: float = Field(300.0, gt=0)
    media_lease_seconds: float = Field(300.0, gt=0)
    follow_lease_seconds: float = Field(60.0, gt=0)
    lease_margin_seconds: float = Field(15.0, gt=0)

    # The fence: from the intent's reading of the clock to the first byte of the publishing call.
    send_margin_seconds: float = Field(2.0, gt=0)

    # How long a stopped process that wakes again is reckoned with before "absent" is believed.
    quarantine_seconds: float = Field(30.0, ge=0)
    lookup_budget: int = Field(12, ge=1)

    call_budget_seconds: float | None = Field(None, gt=0)
    """Overrides every platform's call budget; for tests and chaos."""

    publish_slots: int = Field(32, ge=1)
    """Reckoned with while no publish worker has given a sign of life."""
    claim_batch: int = Field(500, ge=1, le=5000)

    transitions_retention_days: int = Field(90, ge=1)
    media_retention_days: int = Field(30, ge=1)
    """How long originals and renditions stay after the last post that needed them has ended."""
    url_lifetime_seconds: int = Field(86_400, ge=300, le=604_800)

    spool_id: SpoolId = Field(default_factory=socket.gethostname)
    """Names this machine's spool folder; upload workers consume ``upload.<spool id>``."""
    max_media_bytes: int = Field(100_000_000, ge=1)
    """The largest remote picture that is fetched: five times the largest that any platform's rule takes."""
    max_video_bytes: int = Field(4_300_000_000, ge=1)
    """The largest remote video that is fetched: what TikTok takes (4 GB), the most of those we publish to."""
    fetch_longest_seconds: float = Field(3600.0, gt=0, le=10_800)
    """A remote file that has not come by then is tried again from its beginning."""

    # Health: how often beat sends a heartbeat through every queue, after how long a silent queue or beat is
    # down, after how long a due post that nobody took is a failure, and what must stay free on the spool's disk.
    heartbeat_seconds: float = Field(15.0, gt=0)
    alive_seconds: float = Field(60.0, gt=0)
    late_seconds: float = Field(120.0, gt=0)
    disk_free_mb: int = Field(500, ge=0)

    monitor_host: str = "127.0.0.1"
    monitor_port: int = Field(9808, ge=0, le=65_535)
    monitor_token: SecretStr | None = None
    """Whoever asks for figures or reasons must show it; needed in practice wherever the host is not loopback."""

    # Alerts and webhooks.
    alert_urls: SecretStr | None = None
    """Where alerts go: URLs as apprise takes them, separated by blanks. They hold passwords."""
    alert_every_seconds: float = Field(300.0, ge=0)
    """At most one message in so many seconds; what happens meanwhile is told together."""
    alert_remind_hours: float = Field(24.0, gt=0)
    alert_recovery_seconds: float = Field(120.0, ge=0)
    """How long something must be well again before that is told."""
    alert_due_seconds: float = Field(120.0, gt=0)
    alert_quota_percent: float = Field(90.0, gt=0, le=100)
    alert_dead_letters_per_hour: int = Field(10, ge=1)
    alert_success_percent: float = Field(90.0, ge=0, le=100)
    alert_success_minimum: int = Field(10, ge=1)
    """Below so many ended posts in an hour a rate says nothing."""
    webhook_allow_private: bool = False
    webhook_retry_hours: float = Field(24.0, gt=0)
    webhook_timeout_seconds: float = Field(10.0, gt=0, le=60)
    notification_retention_days: int = Field(30, ge=1)
    audit_retention_days: int = Field(365, ge=7)

    # Readiness: how many hours before it is due a post is looked at; empty: never.
    readiness_hours: str = "24,1"
    readiness_least_minutes: float = Field(5.0, ge=0)
    """A post that is due within so many minutes is not looked at: nobody could mend it in time."""
    readiness_again_minutes: float = Field(15.0, ge=1)
    """How often a post is looked at again as long as something is wrong with it."""

    log_format: str = "auto"
    log_level: str = "INFO"

    @field_validator("readiness_hours")
    @classmethod
    def _hours(cls, value: str) -> str:
        for one in value.replace(",", " ").split():
            if not 0 < float(one) <= MOST_HOURS:
                raise ValueError(f"must be hours between 0 and {MOST_HOURS}, separated by commas")
        return value

    @field_validator("log_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value not in {"auto", "json", "console"}:
            raise ValueError("must be auto, json or console")
        return value

    def database(self) -> str:
        """The database's URL. :raises NotConfigured: neither the environment nor an embedded stack has one."""
        if self.database_url is None:
            raise NotConfigured(
                f"No database: set DATABASE_URL, or start the embedded stack with: schedulerx up"
                f" (no stack was found in {self.home})"
            )
        return self.database_url.get_secret_value()

    def database_advice(self) -> str:
        """What to do where the database does not answer: a stack can be started, a server of the user's cannot."""
        if given(os.environ, "DATABASE_URL"):
            return "check DATABASE_URL, and whether the server that it names runs"
        return "start it with: schedulerx up"

    def broker(self) -> str:
        """The broker's URL. :raises NotConfigured: there is none."""
        if self.redis_url is None:
            raise NotConfigured("No broker: set REDIS_URL, or start the embedded stack with: schedulerx up")
        return self.redis_url.get_secret_value()

    def store(self) -> StoreConfig:
        """Where files are kept. :raises NotConfigured: R2_* are not all set."""
        missing = [
            name
            for name, value in {
                "R2_ENDPOINT_URL": self.r2_endpoint_url,
                "R2_ACCESS_KEY_ID": self.r2_access_key_id,
                "R2_SECRET_ACCESS_KEY": self.r2_secret_access_key,
                "R2_BUCKET": self.r2_bucket,
            }.items()
            if not value
        ]
        if missing or not (
            self.r2_endpoint_url and self.r2_access_key_id and self.r2_secret_access_key and self.r2_bucket
        ):
            raise NotConfigured(
                f"No object store for media: set {', '.join(missing)}, or start the embedded stack with: schedulerx up"
            )
        return StoreConfig(
            endpoint_url=self.r2_endpoint_url,
            access_key_id=self.r2_access_key_id,
            secret_access_key=self.r2_secret_access_key.get_secret_value(),
            bucket=self.r2_bucket,
            public_url=self.r2_public_url or None,
        )

    def secret(self) -> str:
        """The key(s) that credentials are encrypted with. :raises NotConfigured: there is none."""
        if self.secret_key is None:
            raise NotConfigured(
                "No SCHEDULERX_SECRET_KEY: credentials are stored encrypted only. Make a key with"
                " `schedulerx secret-key` and keep it in the environment of every process,"
                " or start the embedded stack (schedulerx up), which makes and keeps one"
            )
        return self.secret_key.get_secret_value()

    def readiness_leads(self) -> list[float]:
        """How long before it is due a post is looked at, seconds, the longest first."""
        return sorted({float(one) * 3600 for one in self.readiness_hours.replace(",", " ").split()}, reverse=True)

    def channels(self) -> list[str]:
        """The alert URLs, in order; each is a secret."""
        return self.alert_urls.get_secret_value().split() if self.alert_urls is not None else []

    def elsewhere(self, platform: str, api_url: str | None) -> bool:
        """Whether what was made for ``api_url`` (None: for real) would go to a stand-in from here, or the reverse."""
        return (api_url is None) != (self.api_url(platform) is None)

    def api_url(self, platform: str) -> str | None:
        """The origin that replaces the platform's API hosts (``SCHEDULERX_<PLATFORM>_API_URL``), or None."""
        return os.environ.get(f"SCHEDULERX_{platform.upper().replace('-', '_')}_API_URL") or None

    def spool(self) -> Path:
        """The folder for files between two steps on this machine; made where missing, mode 0700."""
        folder = self.home / "spool"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


def from_environment() -> Settings:
    """Settings as they are now. :raises NotConfigured: a value is malformed; names it, without its value."""
    plain = environment_alone()
    return _known(plain.model_copy(update=_from_stack(plain)))


def environment_alone() -> Settings:
    """Settings without what a stack on this machine would add: for whoever starts that stack.

    :raises NotConfigured: a value is malformed; names it, without its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()
        )
        raise NotConfigured(f"Settings: {told}") from None
    except StackError as error:
        raise NotConfigured(f"Settings: {error}") from None


def _known(settings: Settings) -> Settings:
    """Their secrets are hidden from now on wherever this process speaks."""
    for value in vars(settings).values():
        if isinstance(value, SecretStr):
            words = value.get_secret_value()
            passwords = re.findall(r"://[^/\s:@]*:([^/\s@]{12,})@", words)
            remember(words, *re.split(r"[\s,]+", words), *passwords)
    return settings


def _from_stack(plain: Settings) -> dict[str, Any]:
    """What the environment leaves open and the embedded stack on this machine knows.

    :raises NotConfigured: it is needed, and its description cannot be read.
    """
    if plain.database_url and plain.redis_url and plain.r2_endpoint_url:
        return {}
    try:
        info = load_stack(plain.home)
    except StackError as error:
        raise NotConfigured(f"The stack on this machine cannot be found: {error}") from None
    if info is None:
        return {}
    found: dict[str, Any] = {}
    if plain.database_url is None and info.database_url:
        found["database_url"] = SecretStr(info.database_url)
    if plain.redis_url is None and info.redis_url:
        found["redis_url"] = SecretStr(info.redis_url)
    if plain.r2_endpoint_url is None and info.r2 is not None:
        found["r2_endpoint_url"] = info.r2.endpoint_url
        found["r2_access_key_id"] = info.r2.access_key_id
        found["r2_secret_access_key"] = SecretStr(info.r2.secret_access_key)
        found["r2_bucket"] = info.r2.bucket
    if plain.secret_key is None and plain.database_url is None:
        # The stack's key belongs to the stack's database; another database needs a key of its own.
        key_file = plain.home / "secret.key"
        if key_file.is_file() and (key := key_file.read_text(encoding="utf-8", errors="replace").strip()):
            found["secret_key"] = SecretStr(key)
    return found


@functools.cache
def current() -> Settings:
    """This process's settings, read once."""
    return from_environment()
