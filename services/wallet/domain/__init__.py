"""The rules of money and wallets, without a database or a wire."""
