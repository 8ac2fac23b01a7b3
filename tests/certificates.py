"""An authority of the tests' own, and what it certifies."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trustme

NAME: Final = "localhost"
"""Whom the certificates are for; not the address that it has."""


class Certificates:
    """Files for a listener that shows a certificate, and the root by which callers know it.

    `chain`, `key` and `root` are PEM files in `directory`.
    """

    def __init__(self, directory: Path) -> None:
        self.chain, self.key, self.root = (directory / name for name in ("chain.pem", "key.pem", "root.pem"))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.root))
        leaf = authority.issue_cert(NAME)
        leaf.private_key_pem.write_to_path(str(self.key))
        for place, part in enumerate(leaf.cert_chain_pems):
            part.write_to_path(str(self.chain), append=place > 0)

    def tls(self) -> dict[str, str]:
        """The `tls` of a listener's configuration."""
        return {"certificate_file": str(self.chain), "key_file": str(self.key)}
