"""The demo seed: a project with its key, an account, and a wallet with money in it.

Made through the interfaces every customer and operator has. Each step is kept before the next, so
that a seed which was cut short is completed by the next start.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import grpc

from chassis.rpc.client import open_channel
from cli.demo import Demo
from cli.operator_client import OperatorClient
from sealgate.auth.v1 import (
    account_pb2,
    account_pb2_grpc,
    project_pb2,
    project_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)
from sealgate.wallet.v1 import wallet_pb2, wallet_pb2_grpc

DEMO_AMOUNT: Final = "1000"
_CALL_SECONDS: Final = 5.0


async def seed_demo(path: Path, operator: OperatorClient, auth: str, wallet: str) -> Demo:
    """Makes what is missing of the demo and answers it; `auth` and `wallet` are public gRPC addresses.

    Raises SealgateError or grpc.aio.AioRpcError when a step is refused.
    """
    demo = Demo.read(path)
    if not demo.project_id:
        demo = replace(demo, project_id=await operator.create_project("Demo"))
        demo.write(path)
    async with open_channel(auth) as auth_channel, open_channel(wallet) as wallet_channel:
        if not await _key_works(auth_channel, demo.project_api_key):
            demo = replace(demo, project_api_key=await operator.issue_project_key(demo.project_id, "demo"))
            demo.write(path)
        if not demo.account_id:
            demo = replace(demo, account_id=await _create_account(auth_channel, demo.project_api_key))
            demo.write(path)
        if not demo.wallet_id:
            wallet_id = await _first_wallet(auth_channel, wallet_channel, demo)
            await operator.record_deposit(
                rail="embedded",
                reference=f"demo-{wallet_id}",
                wallet_id=wallet_id,
                asset="USDC",
                amount=DEMO_AMOUNT,
            )
            demo = replace(demo, wallet_id=wallet_id)
            demo.write(path)
    return demo


async def _key_works(channel: grpc.aio.Channel, project_api_key: str) -> bool:
    if not project_api_key:
        return False
    stub = project_pb2_grpc.ProjectServiceStub(channel)
    try:
        await stub.GetProject(
            project_pb2.GetProjectRequest(), metadata=_project(project_api_key), timeout=_CALL_SECONDS
        )
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return False
        raise
    return True


async def _create_account(channel: grpc.aio.Channel, project_api_key: str) -> str:
    request = account_pb2.CreateAccountRequest()
    request.metadata.update({"name": "Demo user"})
    response = await account_pb2_grpc.AccountServiceStub(channel).CreateAccount(
        request, metadata=_project(project_api_key), timeout=_CALL_SECONDS
    )
    return response.account.account_id


async def _first_wallet(auth: grpc.aio.Channel, wallet: grpc.aio.Channel, demo: Demo) -> str:
    """The account's first wallet, which listing makes; the session used for it ends with it."""
    sessions = session_pb2_grpc.SessionServiceStub(auth)
    created = await sessions.CreateSession(
        session_pb2.CreateSessionRequest(account_id=demo.account_id),
        metadata=_project(demo.project_api_key),
        timeout=_CALL_SECONDS,
    )
    bearer = (("authorization", f"Bearer {created.session.session_token}"),)
    try:
        listed = await wallet_pb2_grpc.WalletServiceStub(wallet).ListWallets(
            wallet_pb2.ListWalletsRequest(), metadata=bearer, timeout=_CALL_SECONDS
        )
    finally:
        await sessions.ExpireCurrentSession(
            session_pb2.ExpireCurrentSessionRequest(), metadata=bearer, timeout=_CALL_SECONDS
        )
    return listed.wallets[0].wallet_id


def _project(project_api_key: str) -> tuple[tuple[str, str]]:
    return (("x-project-api-key", project_api_key),)
