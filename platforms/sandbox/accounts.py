"""The sandbox's accounts and their tokens.

A token ``sandbox-<platform>-<name>`` makes its account the first time it is seen and never expires; a refresh
token ``sandbox-refresh-<platform>-<name>`` does so too. Any other token has to be made by the control call.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from platforms.sandbox.journal import Journal

_AUTOMATIC = re.compile(r"sandbox-(?P<refresh>refresh-)?(?P<platform>[a-z]+)-(?P<name>[A-Za-z0-9_.-]{1,60})")


@dataclass(slots=True)
class Account:
    """One profile on one platform."""

    platform: str
    name: str
    user_id: str
    username: str
    display_name: str
    scopes: tuple[str, ...] | None = None
    """None: every scope."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What its platform needs beyond: premium, boards."""


@dataclass(slots=True)
class Token:
    """An access or a refresh token."""

    value: str
    platform: str
    account: str
    refresh: bool = False
    expires_at: float | None = None
    spent: bool = False
    """A refresh token that was exchanged, an access token that was revoked or expired by order."""


def number_for(*words: str) -> str:
    """A number as platforms give them, the same for the same words: ids survive a reset."""
    digest = hashlib.sha256("/".join(words).encode()).digest()
    return str(10**17 + int.from_bytes(digest[:7], "big"))


class Accounts:
    """Accounts by platform and name, tokens by value."""

    def __init__(self, journal: Journal, platforms: frozenset[str]) -> None:
        self._journal = journal
        self._platforms = platforms
        self._accounts: dict[tuple[str, str], Account] = {}
        self._tokens: dict[str, Token] = {}
        journal.on("account", self._replay_account)
        journal.on("token", self._replay_token)
        journal.on("spent", self._replay_spent)

    def get(self, platform: str, name: str) -> Account | None:
        return self._accounts.get((platform, name))

    def all(self) -> list[Account]:
        return list(self._accounts.values())

    def by_user_id(self, platform: str, user_id: str) -> Account | None:
        """The account of a platform's user id."""
        for account in self._accounts.values():
            if account.platform == platform and account.user_id == user_id:
                return account
        return None

    def save(self, account: Account) -> Account:
        """Creates or replaces."""
        self._journal.write("account", asdict(account))
        self._accounts[account.platform, account.name] = account
        return account

    def ensure(self, platform: str, name: str) -> Account:
        """The account, made now if it was not there."""
        account = self.get(platform, name)
        if account is not None:
            return account
        username = re.sub(r"[^A-Za-z0-9_]", "_", name)[:15] or "account"
        title = name.replace("_", " ").replace("-", " ").title()
        return self.save(Account(platform, name, number_for(platform, name), username, title))

    def holder(self, platform: str, value: str) -> Account | None:
        """Whose access token this is; None where it is unknown, expired, revoked or of another platform."""
        token = self._tokens.get(value) or self._automatic(value)
        if token is None or token.platform != platform or token.refresh or not self.good(token):
            return None
        return self._accounts[platform, token.account]

    def refresh_token(self, platform: str, value: str) -> Token | None:
        """The refresh token of that value, also a spent one (the platform decides what that means)."""
        token = self._tokens.get(value) or self._automatic(value)
        return token if token is not None and token.refresh and token.platform == platform else None

    def good(self, token: Token) -> bool:
        """Neither spent nor expired."""
        return not token.spent and (token.expires_at is None or token.expires_at > time.time())

    def issue(
        self,
        account: Account,
        *,
        refresh: bool = False,
        value: str | None = None,
        expires_in_s: float | None = None,
    ) -> Token:
        """A new token."""
        expires_at = None if expires_in_s is None else time.time() + expires_in_s
        made = value or f"{'rt' if refresh else 'at'}-{account.platform}-{secrets.token_hex(16)}"
        return self._keep(Token(made, account.platform, account.name, refresh, expires_at))

    def spend(self, token: Token) -> None:
        """This token is good for nothing from now on."""
        token.spent = True
        self._journal.write("spent", {"value": token.value})

    def spend_value(self, value: str) -> None:
        """As ``spend``, by the token's value; nothing where it is not known."""
        token = self._tokens.get(value)
        if token is not None and not token.spent:
            self.spend(token)

    def revoke(self, account: Account, *, access_only: bool = False) -> None:
        """Every token of the account is dead; with ``access_only`` it may still be refreshed."""
        for token in list(self._tokens.values()):
            mine = (token.platform, token.account) == (account.platform, account.name)
            if mine and not token.spent and not (access_only and token.refresh):
                self.spend(token)

    def can_refresh(self, account: Account) -> bool:
        """Whether a refresh token of it is known and good."""
        return any(
            token.refresh and self.good(token) and (token.platform, token.account) == (account.platform, account.name)
            for token in self._tokens.values()
        )

    def journal_again(self) -> None:
        """Writes all accounts and tokens into a journal that was emptied."""
        for account in self._accounts.values():
            self._journal.write("account", asdict(account))
        for token in self._tokens.values():
            self._journal.write("token", asdict(token))

    def clear(self) -> None:
        self._accounts.clear()
        self._tokens.clear()

    def _automatic(self, value: str) -> Token | None:
        match = _AUTOMATIC.fullmatch(value)
        if match is None or match["platform"] not in self._platforms:
            return None
        account = self.ensure(match["platform"], match["name"])
        return self.issue(account, refresh=match["refresh"] is not None, value=value)

    def _keep(self, token: Token) -> Token:
        self._journal.write("token", asdict(token))
        self._tokens[token.value] = token
        return token

    def _replay_account(self, record: Mapping[str, Any]) -> None:
        values = {name: value for name, value in record.items() if name != "kind"}
        values["scopes"] = None if values["scopes"] is None else tuple(values["scopes"])
        account = Account(**values)
        self._accounts[account.platform, account.name] = account

    def _replay_token(self, record: Mapping[str, Any]) -> None:
        token = Token(**{name: value for name, value in record.items() if name != "kind"})
        self._tokens[token.value] = token

    def _replay_spent(self, record: Mapping[str, Any]) -> None:
        if record["value"] in self._tokens:
            self._tokens[record["value"]].spent = True
