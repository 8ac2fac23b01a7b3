"""Sessions and API keys, from their making to their end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from sealgate.client import (
    ApiKeyNotFound,
    ApiKeyRevoked,
    CredentialKind,
    CredentialNotAccepted,
    RateLimited,
    Sealgate,
    SessionInvalid,
)
from tools.demo.guide import Guide, SurpriseError
from tools.demo.trading import money_flow, trading_flow

OVERLAP_SECONDS: Final = 5
# How late a process may hear that an overlap has ended, many times over.
REVOKED_WITHIN_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.2
WRITES_PER_MINUTE: Final = 60


def session_flow(guide: Guide, backend: Sealgate, account_id: str) -> None:
    """A session from its start to its end, and what must fail after each end."""
    with guide.step("Create a session", status=201):
        first = backend.create_session(account_id=account_id)
    guide.check(first.account_id == account_id, "the session of this account")
    user = backend.with_session(first.session_token)
    with guide.step("List wallets with the session token"):
        wallets = user.list_wallets()
    guide.check([wallet.name for wallet in wallets] == ["Wallet 1"], "one wallet, made by this call")
    with guide.step("See whose token it is"):
        current = user.get_current_session()
    guide.check(current.authenticated, "authenticated")
    guide.check(current.account_id == account_id, "the account")
    guide.check(current.kind is CredentialKind.ACCOUNT_SESSION, "kind ACCOUNT_SESSION")
    with guide.step("Refresh the session"):
        second = backend.refresh_session(account_id=account_id, session_id=first.session_id)
    guide.check(second.session_id != first.session_id, "a new session")
    with guide.step("Refresh it again, as after a lost answer"):
        again = backend.refresh_session(account_id=account_id, session_id=first.session_id)
    guide.check(again.session_id == second.session_id, "the same successor")
    with guide.step("The refreshed token works no more", refused=SessionInvalid):
        user.list_wallets()
    user = backend.with_session(second.session_token)
    with guide.step("The new one sees the same wallet"):
        same = user.list_wallets()
    guide.check(same == wallets, "the same wallet")
    with guide.step("Expire the session"):
        done = backend.expire_session(account_id=account_id, session_id=second.session_id)
    guide.check(done.expired, "expired")
    with guide.step("The expired token works no more", refused=SessionInvalid):
        user.list_wallets()
    tokens = {}
    for device in ("phone", "laptop"):
        with guide.step(f"Create a session ({device})", status=201):
            tokens[device] = backend.create_session(account_id=account_id).session_token
    with guide.step("Expire all sessions"):
        all_done = backend.expire_all_sessions(account_id=account_id)
    guide.check(all_done.expired == len(tokens), "two sessions expired")
    for device, token in tokens.items():
        with guide.step(f"The {device}'s token works no more", refused=SessionInvalid):
            backend.with_session(token).list_wallets()


def key_flow(guide: Guide, backend: Sealgate, account_id: str, data: Path) -> None:
    """An API key from its creation to its end; in between, everything a program does with one."""
    with guide.step("Create an API key", status=201):
        key = backend.create_account_api_key(account_id=account_id, name="bot")
    secret = str(key.secret_key)
    guide.check(secret.startswith("sk_"), "a secret")
    bot = backend.with_api_key(secret)
    with guide.step("List wallets with the API key"):
        wallets = bot.list_wallets()
    with guide.step("The same key as a bearer"):
        same = backend.with_session(secret).list_wallets()
    guide.check(same == wallets, "the same wallets")
    with guide.step("List the account's keys"):
        listed = bot.list_api_keys()
    guide.check([item.public_key for item in listed] == [key.public_key], "the one key")
    with guide.step("An API key makes no API keys", refused=CredentialNotAccepted):
        bot.create_api_key()
    wallet_id = wallets[0].wallet_id
    money_flow(guide, bot, wallet_id, data)
    trading_flow(guide, bot, wallet_id)
    limit_flow(guide, backend, account_id, wallet_id)
    new_secret, public_key = rotation_flow(guide, backend, account_id, key.public_key, secret)
    with guide.step("Delete the key"):
        done = backend.delete_account_api_key(account_id=account_id, public_key=public_key)
    guide.check(done.deleted, "deleted")
    with guide.step("The deleted key works no more", refused=ApiKeyRevoked):
        backend.with_api_key(new_secret).list_wallets()
    with guide.step("Delete it again", refused=ApiKeyNotFound):
        backend.delete_account_api_key(account_id=account_id, public_key=public_key)


def limit_flow(guide: Guide, backend: Sealgate, account_id: str, wallet_id: str) -> None:
    """A key that writes too often, while others go on."""
    with guide.step("Create a key for a busy program", status=201):
        key = backend.create_account_api_key(account_id=account_id, name="busy")
    busy = backend.with_api_key(str(key.secret_key))
    with guide.silence():
        for _ in range(WRITES_PER_MINUTE):
            busy.update_wallet(wallet_id=wallet_id, autoredeem=False)
    with guide.step(f"After {WRITES_PER_MINUTE} writes in a minute the next is refused", refused=RateLimited):
        busy.update_wallet(wallet_id=wallet_id, autoredeem=False)
    with guide.step("Its reads are counted by themselves"):
        busy.list_wallets()
    with guide.step("Delete the busy program's key"):
        backend.delete_account_api_key(account_id=account_id, public_key=key.public_key)


def rotation_flow(
    guide: Guide, backend: Sealgate, account_id: str, public_key: str, secret: str
) -> tuple[str, str]:
    """A key replaced without a gap: both work, then the new one alone; gives its secret and its name."""
    with guide.step(f"Rotate the key, the old one working for {OVERLAP_SECONDS} seconds more", status=201):
        rotated = backend.rotate_account_api_key(
            account_id=account_id, public_key=public_key, overlap_seconds=OVERLAP_SECONDS
        )
    new_secret = str(rotated.secret_key)
    with guide.step("The new secret works"):
        backend.with_api_key(new_secret).list_wallets()
    with guide.step("The old one works too"):
        backend.with_api_key(secret).list_wallets()
    with guide.silence():
        wait_for_end(backend.with_api_key(secret))
    with guide.step("When the overlap has ended the old one works no more", refused=ApiKeyRevoked):
        backend.with_api_key(secret).list_wallets()
    with guide.step("The new one goes on"):
        backend.with_api_key(new_secret).list_wallets()
    return new_secret, rotated.public_key


def wait_for_end(old: Sealgate) -> None:
    """Returns when the credential is revoked; raises SurpriseError if that takes too long."""
    ends_at = time.monotonic() + OVERLAP_SECONDS + REVOKED_WITHIN_SECONDS
    while time.monotonic() < ends_at:
        try:
            old.list_wallets()
        except ApiKeyRevoked:
            return
        time.sleep(POLL_SECONDS)
    raise SurpriseError("the old key never ended")
