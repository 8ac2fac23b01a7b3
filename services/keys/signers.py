"""Where this service finds the keys whose signatures it verifies: in its own table."""

from __future__ import annotations

import uuid

from chassis.rpc.signers import KnownSigner, RemoteStandings
from services.keys.ports_signing import SigningKeyStore


class OwnSigners:
    """See `chassis.rpc.signers.SignerDirectory`; how an account stands is auth's to say."""

    def __init__(self, store: SigningKeyStore, standings: RemoteStandings) -> None:
        self._store = store
        self._standings = standings

    async def known_signer(self, account_id: uuid.UUID, public_key: bytes) -> KnownSigner | None:
        """See `SignerDirectory.known_signer`."""
        signer = await self._store.signer(account_id, public_key)
        if signer is None:
            return None
        standing = await self._standings.standing(account_id)
        return None if standing is None else KnownSigner(signer, standing)
