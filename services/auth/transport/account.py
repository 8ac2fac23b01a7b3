"""The project's end users."""
# ruff: noqa: N802 - gRPC gives the methods their names

from __future__ import annotations

import json

from google.protobuf.struct_pb2 import Struct, Value

from chassis.clock import Clock
from chassis.errors import invalid
from chassis.ids import Ids
from chassis.rpc import context as request_context
from chassis.rpc.timestamps import timestamp
from sealgate.auth.v1 import account_pb2, account_pb2_grpc
from sealgate.common.v1 import passport_pb2
from services.auth.domain.account import Account, AccountStatus, JsonValue, metadata_text
from services.auth.ports import AccountRef, AccountStore
from services.auth.revocation import MassRevocation
from services.auth.transport.messages import Context, account, act_of_caller, page

_STATUSES = {
    passport_pb2.ACCOUNT_STATUS_ACTIVE: AccountStatus.ACTIVE,
    passport_pb2.ACCOUNT_STATUS_SUSPENDED: AccountStatus.SUSPENDED,
}


class AccountServicer(account_pb2_grpc.AccountServiceServicer):
    """The project's end users."""

    def __init__(self, store: AccountStore, revocation: MassRevocation, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._revocation = revocation
        self._clock = clock
        self._ids = ids

    async def CreateAccount(
        self, request: account_pb2.CreateAccountRequest, context: Context
    ) -> account_pb2.CreateAccountResponse:
        """A new account of the caller's project."""
        ref = AccountRef(request_context.identity().project_id, self._ids.uuid7())
        metadata = metadata_text(_struct(request.metadata))
        found = await self._store.create_account(ref, metadata, act_of_caller(self._clock))
        return account_pb2.CreateAccountResponse(account=_account(found))

    async def ListAccounts(
        self, request: account_pb2.ListAccountsRequest, context: Context
    ) -> account_pb2.ListAccountsResponse:
        """A page of the project's accounts."""
        project_id = request_context.identity().project_id
        accounts = await self._store.list_accounts(project_id, page(request))
        return account_pb2.ListAccountsResponse(accounts=[_account(found) for found in accounts])

    async def GetAccount(
        self, request: account_pb2.GetAccountRequest, context: Context
    ) -> account_pb2.GetAccountResponse:
        """The account that the request names."""
        found = await self._store.account(account())
        return account_pb2.GetAccountResponse(account=_account(found))

    async def ReplaceAccountMetadata(
        self, request: account_pb2.ReplaceAccountMetadataRequest, context: Context
    ) -> account_pb2.ReplaceAccountMetadataResponse:
        """The account with new metadata."""
        if not request.HasField("metadata"):
            raise invalid("metadata", "is required")
        metadata = metadata_text(_struct(request.metadata))
        found = await self._store.replace_metadata(account(), metadata, act_of_caller(self._clock))
        return account_pb2.ReplaceAccountMetadataResponse(account=_account(found))

    async def SetAccountStatus(
        self, request: account_pb2.SetAccountStatusRequest, context: Context
    ) -> account_pb2.SetAccountStatusResponse:
        """The account in its new status."""
        status = _STATUSES.get(request.status)
        if status is None:
            raise invalid("status", "must be ACTIVE or SUSPENDED")
        found = await self._revocation.set_status(account(), status, act_of_caller(self._clock))
        return account_pb2.SetAccountStatusResponse(account=_account(found))


def _struct(struct: Struct) -> dict[str, JsonValue]:
    return {name: _json(value) for name, value in struct.fields.items()}


def _json(value: Value) -> JsonValue:
    kind = value.WhichOneof("kind")
    if kind is None:
        raise invalid("metadata", "must not have members without a value")
    if kind == "null_value":
        return None
    if kind == "struct_value":
        return _struct(value.struct_value)
    if kind == "list_value":
        return [_json(item) for item in value.list_value.values]
    plain: bool | float | str = getattr(value, kind)
    return plain


def _account(account: Account) -> account_pb2.Account:
    # Given whole, so that an empty object is present too and not printed as null.
    metadata = Struct()
    metadata.update(json.loads(account.metadata))
    return account_pb2.Account(
        account_id=str(account.account_id),
        account_number=account.account_number,
        metadata=metadata,
        status=passport_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{account.status}"),
        created_at=timestamp(account.created_at_ns),
        updated_at=timestamp(account.updated_at_ns),
    )
