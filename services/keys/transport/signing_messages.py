"""Keys that sign, as messages."""

from __future__ import annotations

from typing import Final

from chassis.rpc.timestamps import timestamp
from chassis.signing import UNPINNED_SCOPE, Role, Signer, SignerKind
from sealgate.common.v1 import method_rule_pb2
from sealgate.keys.v1 import signer_facts_pb2, signing_key_pb2
from services.keys.domain.signing_key import MasterKey, SessionKey

ROLES: Final[dict[int, Role]] = {
    signer_facts_pb2.SIGNING_ROLE_FULL_ACCESS: Role.FULL_ACCESS,
    signer_facts_pb2.SIGNING_ROLE_TRADING_ONLY: Role.TRADING_ONLY,
}
_ROLE_NUMBERS: Final = {
    Role.FULL_ACCESS: signer_facts_pb2.SIGNING_ROLE_FULL_ACCESS,
    Role.TRADING_ONLY: signer_facts_pb2.SIGNING_ROLE_TRADING_ONLY,
}
_KIND_NUMBERS: Final = {
    SignerKind.MASTER_KEY: method_rule_pb2.CREDENTIAL_KIND_MASTER_KEY,
    SignerKind.SESSION_KEY: method_rule_pb2.CREDENTIAL_KIND_SESSION_KEY,
}


def master_key_message(key: MasterKey) -> signing_key_pb2.MasterKey:
    """A master key as signed answers have it."""
    return signing_key_pb2.MasterKey(
        public_key=key.public_key,
        reach=_reach(key),
        role=_ROLE_NUMBERS[key.role],
        subaccount_index=key.subaccount_index,
        created_at_ns=key.created_at_ns,
    )


def registered_message(key: MasterKey) -> signing_key_pb2.RegisteredMasterKey:
    """A master key as the project has it."""
    return signing_key_pb2.RegisteredMasterKey(
        public_key=key.public_key,
        reach=_reach(key),
        role=_ROLE_NUMBERS[key.role],
        created_at=timestamp(key.created_at_ns),
    )


def session_key_message(key: SessionKey) -> signing_key_pb2.SessionKey:
    """A session key."""
    return signing_key_pb2.SessionKey(
        public_key=key.public_key,
        master_public_key=key.master_public_key,
        scope=UNPINNED_SCOPE if key.scope_index is None else key.scope_index,
        subaccount_index=key.subaccount_index,
        role=_ROLE_NUMBERS[key.role],
        admin_rooted=key.admin_rooted,
        valid_until_ns=key.valid_until_ns,
        created_at_ns=key.created_at_ns,
    )


def facts_message(signer: Signer) -> signer_facts_pb2.SignerFacts:
    """A key's facts, for the services that verify what it signed."""
    return signer_facts_pb2.SignerFacts(
        account_id=str(signer.account_id),
        public_key=signer.public_key,
        kind=_KIND_NUMBERS[signer.kind],
        role=_ROLE_NUMBERS[signer.role],
        subaccount_index=signer.subaccount_index,
        admin_rooted=signer.admin_rooted,
        valid_until_ns=signer.valid_until_ns,
    )


def _reach(key: MasterKey) -> signer_facts_pb2.MasterKeyReach.ValueType:
    if key.is_admin:
        return signer_facts_pb2.MASTER_KEY_REACH_ADMIN
    return signer_facts_pb2.MASTER_KEY_REACH_SCOPED
