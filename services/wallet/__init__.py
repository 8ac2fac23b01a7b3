"""The wallet service: wallets and the ledger that keeps the money in them."""
