"""The keys of an account that signs: from its first master key to the end of a session key."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.limits import SESSION_KEYS_PER_MASTER_KEY_COUNT
from cli.stack_config import AUDIENCE
from sealgate.client import (
    NEVER,
    UNPINNED,
    ApiKeyRevoked,
    CredentialNotAccepted,
    KeyPair,
    MasterKeyReach,
    RegisteredMasterKey,
    RequestStatus,
    ScopeNotGranted,
    Sealgate,
    SessionInvalid,
    Signer,
    SigningRole,
    SubmitLogoutResult,
    SubmitMintSessionKeyResult,
    ValidationError,
)
from tools.demo.guide import Guide


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the private half of a key."""

    signer: Signer
    client: Sealgate
    """Signs with the key, and has no other credential."""

    @property
    def public_key(self) -> bytes:
        """The half that the platform knows."""
        return self.signer.key.public_key


def master_key_flow(guide: Guide, anybody: Sealgate, backend: Sealgate) -> Holder:
    """An account gets its first master key, and nothing comes of it that others register it too."""
    with guide.step("Create an account that shall sign", status=201):
        account_id = backend.create_account(metadata={"name": "Grace"}).account_id
    master = Signer(KeyPair.generate(), account_id, audience=AUDIENCE)
    with guide.step("Register its master key, whose own signature proves that somebody has it", status=201):
        known = register(backend, master, master.possession())
    guide.check(known.reach is MasterKeyReach.ADMIN, "a key that reaches all of the account")
    guide.check(known.role is SigningRole.FULL_ACCESS, "a key that may do everything")
    with guide.silence():
        stranger = backend.create_account(metadata={"name": "Mallory"})
    elsewhere = Signer(master.key, stranger.account_id, audience=AUDIENCE)
    with guide.step("A stranger who has seen this has no proof for another account", refused=ValidationError):
        register(backend, elsewhere, master.possession())
    with guide.step("And if the key is registered there, with a proof of its own,", status=201):
        register(backend, elsewhere, elsewhere.possession())
    holder = Holder(master, anybody.with_signer(master))
    with guide.step("nothing has changed for the first account: no session key was minted"):
        listed = holder.client.submit_list_session_keys()
    guide.check(listed.session_keys == (), "no session keys")
    return holder


def mint_flow(guide: Guide, master: Holder, title: str, scope: int = UNPINNED) -> Holder:
    """The master key mints a session key."""
    signer = Signer(KeyPair.generate(), master.signer.account_id, audience=AUDIENCE)
    with guide.step(title):
        minted = mint(master, signer.key, scope)
    key = guide.need(minted.session_key, "the key")
    guide.check(key.public_key == signer.key.public_key, "this key")
    guide.check(key.admin_rooted is (scope == UNPINNED), "an admin-rooted key exactly when it is not pinned")
    return Holder(signer, master.client.with_signer(signer))


def reader_flow(guide: Guide, session: Holder) -> Sealgate:
    """Keys for reading, made by a signature in headers; gives a client with the API key."""
    with guide.step("Make an API key, signed in headers"):
        made = session.client.create_session_api_key(name="dashboard")
    reader = session.client.with_api_key(guide.need(made.secret_key, "a secret"))
    with guide.step("It reads"):
        [subaccount] = reader.list_subaccounts()
    guide.check(len(subaccount.wallets) == 1, "one subaccount with one wallet")
    with guide.step("and writes nothing", refused=ScopeNotGranted):
        reader.create_wallet()
    return reader


def device_flow(guide: Guide, session: Holder) -> Sealgate:
    """A login gives a device key, which reads; gives a client with it."""
    with guide.step("Log a device in, signed in headers"):
        made = session.client.create_device_key(name="phone")
    device = session.client.with_device_key(guide.need(made.secret_key, "a secret"))
    with guide.step("Its device key reads"):
        device.list_wallets()
    with guide.step("and writes nothing", refused=CredentialNotAccepted):
        device.create_wallet()
    return device


def cap_flow(guide: Guide, master: Holder) -> None:
    """A master key has so many live session keys and no more."""
    with guide.silence():
        live = len(master.client.submit_list_session_keys().session_keys)
        for _ in range(SESSION_KEYS_PER_MASTER_KEY_COUNT - live):
            mint(master, KeyPair.generate()).raise_for_status()
    with guide.step(
        f"After {SESSION_KEYS_PER_MASTER_KEY_COUNT} live session keys the next is refused",
        outcome=RequestStatus.SESSION_MAX_SESSIONS,
    ):
        mint(master, KeyPair.generate())


def logout_flow(guide: Guide, session: Holder, reader: Sealgate, device: Sealgate) -> None:
    """A session key ends itself with all that came from it, and its owner learns that it did."""
    request_id = session.client.new_request_id()
    with guide.step("Log out, with all that came from this session key"):
        log_out(session, request_id)
    with guide.step("The same once more, as after a lost answer", outcome=RequestStatus.DUPLICATE):
        repeated = log_out(session, request_id)
    original = guide.need(repeated.original, "what became of the first")
    guide.check(original.success, "a first that was done")
    with guide.step("Its next request is refused", refused=SessionInvalid):
        session.client.submit_create_subaccount()
    for name, client in {"API key": reader, "device key": device}.items():
        with guide.step(f"Its {name} works no more", refused=ApiKeyRevoked):
            client.list_wallets()


def register(backend: Sealgate, signer: Signer, possession: bytes) -> RegisteredMasterKey:
    """Registers the signer's key as its account's first master key."""
    return backend.register_master_key(
        account_id=str(signer.account_id),
        public_key=signer.key.public_key,
        possession_signature=possession,
    )


def mint(master: Holder, key: KeyPair, scope: int = UNPINNED) -> SubmitMintSessionKeyResult:
    """Mints a session key that does not end by itself."""
    return master.client.submit_mint_session_key(public_key=key.public_key, scope=scope, valid_until_ns=NEVER)


def log_out(session: Holder, request_id: str) -> SubmitLogoutResult:
    """Ends the session key and its API keys."""
    return session.client.submit_logout(
        public_key=session.public_key, include_api_keys=True, request_id=request_id
    )
