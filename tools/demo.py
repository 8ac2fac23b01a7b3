"""The published flows, step by step, against a stack of their own; run by `make demo`.

Shows every request and its answer with secrets shortened, checks every answer, and ends with exit
code 1 at the first one that is not as published. What it calls is the client that customers have.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import httpx

from sealgate.client import (
    AmountUnits,
    ApiKeyNotFound,
    ApiKeyRequired,
    ApiKeyRevoked,
    CredentialKind,
    CredentialNotAccepted,
    IdempotencyConflict,
    InsufficientBalance,
    ListedMarket,
    Order,
    OrderNotOpen,
    OrderStatus,
    OrderType,
    PriceOffTick,
    RateLimited,
    RetryPolicy,
    Sealgate,
    SealgateError,
    SessionInvalid,
    Side,
    TransferKind,
)

SEALGATE: Final = (sys.executable, "-P", "-m", "cli.main")
SECRETS: Final = re.compile(r"(sk_|eyJ)([A-Za-z0-9_-]{4})[A-Za-z0-9._-]+")
ANSWER_MAX_CHARACTERS: Final = 600
STOP_SECONDS: Final = 60.0
OVERLAP_SECONDS: Final = 5
# How late a process may hear that an overlap has ended, many times over.
REVOKED_WITHIN_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.2
WRITES_PER_MINUTE: Final = 60
# Of a request and of an answer: who asks, and what is said beside the body.
SHOWN_HEADERS: Final = (
    "x-project-api-key",
    "authorization",
    "x-api-key",
    "idempotency-key",
    "idempotent-replayed",
    "retry-after",
)
LIMIT_HEADERS: Final = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit")


class SurpriseError(Exception):
    """An answer that is not as published."""


class Guide:
    """Walks through the steps: says, shows what goes over the wire, checks, counts."""

    def __init__(self) -> None:
        self.steps_count = 0
        self.quiet = False
        self.status = 0

    def say(self, title: str) -> None:
        """Begins a step."""
        self.steps_count += 1
        print(f"\n{self.steps_count:2}. {title}")

    @contextmanager
    def step(
        self, title: str, *, status: int = 200, refused: type[SealgateError] | None = None
    ) -> Iterator[None]:
        """One step with one call: its answer must have this status, or be this refusal."""
        self.say(title)
        self.status = 0
        try:
            yield
        except SealgateError as error:
            if refused is None or type(error) is not refused:
                raise SurpriseError(f"step {self.steps_count}: {error}") from None
            return
        self.check(refused is None, f"a refusal, {refused and refused.__name__}")
        self.check(self.status == status, f"status {status}")

    def check(self, as_published: bool, what: str) -> None:
        """Goes on when an expectation holds; raises SurpriseError when it does not."""
        if not as_published:
            raise SurpriseError(f"step {self.steps_count}: expected {what}")

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Calls that are no step of their own."""
        self.quiet = True
        yield
        self.quiet = False

    def show_request(self, request: httpx.Request) -> None:
        """A hook of the HTTP client's."""
        if not self.quiet:
            body = request.content.decode()
            print(f"    {request.method} {request.url.raw_path.decode()}{' ' + body if body else ''}")
            self._show_headers(request.headers, SHOWN_HEADERS, "")

    def show_answer(self, answer: httpx.Response) -> None:
        """A hook of the HTTP client's; the envelope is checked here, because a model has none."""
        answer.read()
        self.status = answer.status_code
        if not self.quiet:
            print(f"    → {answer.status_code} {shortened(answer.text)}")
            self._show_headers(answer.headers, SHOWN_HEADERS, "  ")
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                self._show_headers(answer.headers, LIMIT_HEADERS, "  ")
        self.check(answer.json()["success"] is answer.is_success, f"success is {answer.is_success}")

    def _show_headers(self, headers: Mapping[str, str], names: tuple[str, ...], indent: str) -> None:
        for name in names:
            if name in headers:
                print(f"    {indent}{name}: {shortened(headers[name])}")


def shortened(text: str) -> str:
    """`text` for the screen: no whole secret, no endless answer."""
    text = SECRETS.sub(r"\1\2…", text)
    return text if len(text) <= ANSWER_MAX_CHARACTERS else text[:ANSWER_MAX_CHARACTERS] + " …"


@contextmanager
def own_stack(directory: Path) -> Iterator[Mapping[str, Any]]:
    """A stack in `directory` on ports that are free; gives the contents of its ready-file."""
    ready_file = directory / "ready.json"
    arguments = ("up", "--data", directory / "data", "--http", "127.0.0.1:0", "--ready-file", ready_file)
    # In a session of its own: Ctrl-C is for us, and we stop it in order.
    process = subprocess.Popen(
        (*SEALGATE, *arguments), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        if not any(line.startswith("Sealgate is ready") for line in process.stdout):
            raise SurpriseError("the stack did not start")
        yield json.loads(ready_file.read_text(encoding="utf-8"))
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)


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


def operate(guide: Guide, title: str, command: str, data: Path) -> None:
    """A step of the operator's, with a command that must succeed."""
    guide.say(title)
    print(f"    sealgate {command}")
    answer = subprocess.run(
        (*SEALGATE, *command.split(), "--data", data), capture_output=True, text=True, check=False
    )
    print(f"    → {answer.returncode} {answer.stdout.strip()}{answer.stderr.strip()}")
    guide.check(answer.returncode == 0, "exit code 0")


def money_flow(guide: Guide, bot: Sealgate, wallet_id: str, data: Path) -> None:
    """A deposit, which counts once however often it is reported."""
    with guide.step("The balance before a deposit"):
        empty = bot.get_chain_balance(wallet_id=wallet_id)
    guide.check(empty.balance.get("USDC", Decimal(0)) == 0, "nothing")
    command = f"wallet deposit --wallet {wallet_id} --amount 12.5 --reference demo-deposit-1"
    for title in ("Record a deposit, as the operator", "Record it again"):
        operate(guide, title, command, data)
        with guide.step("The balance after it"):
            full = bot.get_chain_balance(wallet_id=wallet_id)
        guide.check(full.balance["USDC"] == Decimal("12.5"), "12.5 USDC")
    with guide.step("The wallet's transfers"):
        moved = bot.list_transfers(wallet_id=wallet_id)
    guide.check([item.type for item in moved] == [TransferKind.DEPOSIT], "one deposit")


def trading_flow(guide: Guide, bot: Sealgate, wallet_id: str) -> None:
    """Orders against the seed's liquidity: filled, repeated, resting, cancelled, refused."""
    with guide.step("List the markets, newest first"):
        markets = bot.list_markets()
    market = markets[-1]
    guide.check(market.active, "a market that takes orders")
    with guide.step("Look at the oldest one's book"):
        book = bot.get_book(condition_id=market.condition_id)
    bid, ask = book.bids[0].price, book.asks[0].price
    guide.check(bid < ask, "prices on both sides")
    filled_flow(guide, bot, wallet_id, market, ask)
    below = bid - market.tick
    resting_flow(guide, bot, wallet_id, market, below)
    with guide.step("An order off the market's tick is told the nearest price", refused=PriceOffTick):
        place_limit(bot, wallet_id, market, shares=10, price=below - market.tick / 4)
    with guide.step("An order beyond the balance is told what would do", refused=InsufficientBalance):
        place_limit(bot, wallet_id, market, shares=1000, price=below)


def filled_flow(guide: Guide, bot: Sealgate, wallet_id: str, market: ListedMarket, ask: Decimal) -> None:
    """A MARKET order that is filled at once, the same request once more, and what the wallet holds then."""
    with guide.step("Ask what 5 USDC would buy"):
        quote = bot.quote_order(
            wallet_id=wallet_id,
            token_id=market.left_token_id,
            side=Side.BUY,
            amount=5,
            units=AmountUnits.USDC,
        )
    guide.check(quote.best_price == ask, "the best price of the book")
    orders = []
    for title in ("Buy for 5 USDC at the market", "Send the same once more, as after a lost answer"):
        with guide.step(title, status=201):
            orders.append(buy_for(bot, wallet_id, market, usdc=5, key="demo-market-1"))
    guide.check(bot.last_answer.idempotent_replayed, "an answer from the records")
    guide.check(orders[0] == orders[1], "one order")
    order = orders[0]
    guide.check(order.status is OrderStatus.FILLED, "a filled order")
    guide.check(order.filled == quote.shares, "the shares of the quote")
    with guide.step("The same key for another order", refused=IdempotencyConflict):
        buy_for(bot, wallet_id, market, usdc=6, key="demo-market-1")
    with guide.step("What the order traded"):
        trades = bot.list_trades(wallet_id=wallet_id)
    spent = sum((trade.amount for trade in trades), Decimal(0))
    guide.check(sum(trade.shares for trade in trades) == order.filled, "the order's shares")
    with guide.step("The wallet's position"):
        [position] = bot.list_positions(wallet_id=wallet_id)
    guide.check(position.position.shares == order.filled, "the same shares")
    with guide.step("The balance after it"):
        balance = bot.get_chain_balance(wallet_id=wallet_id)
    guide.check(balance.balance["USDC"] == Decimal("12.5") - spent - order.fee, "spent once")


def resting_flow(guide: Guide, bot: Sealgate, wallet_id: str, market: ListedMarket, price: Decimal) -> None:
    """A LIMIT order that waits in the book, keeps money back, and is cancelled."""
    with guide.step("Place a limit order below the market", status=201):
        order = place_limit(bot, wallet_id, market, shares=10, price=price)
    guide.check(order.status is OrderStatus.OPEN, "an open order")
    with guide.step("It keeps money back"):
        held = bot.get_chain_balance(wallet_id=wallet_id)
    guide.check(held.assets[0].held == 10 * price, "price times shares held")
    with guide.step("It is among the active orders"):
        active = bot.list_active_orders(wallet_id=wallet_id)
    guide.check([item.order.order_id for item in active] == [order.order_id], "this order")
    with guide.step("Cancel it"):
        cancelled = bot.cancel_order(wallet_id=wallet_id, order_id=order.order_id)
    guide.check(cancelled.order_id == order.order_id, "this order")
    with guide.step("Cancel it again", refused=OrderNotOpen):
        bot.cancel_order(wallet_id=wallet_id, order_id=order.order_id)
    with guide.step("The money is free again"):
        freed = bot.get_chain_balance(wallet_id=wallet_id)
    guide.check(freed.assets[0].held == 0, "nothing held")


def buy_for(bot: Sealgate, wallet_id: str, market: ListedMarket, *, usdc: int, key: str) -> Order:
    """Spends so much at what the book has."""
    return bot.place_order(
        wallet_id=wallet_id,
        token_id=market.left_token_id,
        side=Side.BUY,
        type=OrderType.MARKET,
        amount=usdc,
        units=AmountUnits.USDC,
        idempotency_key=key,
    )


def place_limit(bot: Sealgate, wallet_id: str, market: ListedMarket, *, shares: int, price: Decimal) -> Order:
    """Wants shares of the left outcome at a price."""
    return bot.place_order(
        wallet_id=wallet_id,
        token_id=market.left_token_id,
        side=Side.BUY,
        type=OrderType.LIMIT,
        amount=shares,
        units=AmountUnits.SHARES,
        price=price,
    )


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


def main() -> int:
    """Runs the flows; returns the exit code."""
    guide = Guide()
    hooks: dict[str, list[Callable[..., None]]] = {
        "request": [guide.show_request],
        "response": [guide.show_answer],
    }
    try:
        with (
            tempfile.TemporaryDirectory(prefix="sealgate-demo-") as scratch,
            own_stack(Path(scratch)) as ready,
            httpx.Client(event_hooks=hooks) as http,
        ):
            # Once each: a step is what one request answers.
            once = RetryPolicy(attempts_count=1)
            anybody = Sealgate(ready["base_url"], http=http, retry=once)
            backend = anybody.with_project_key(ready["project_api_key"])
            with guide.step("Create an account", status=201):
                made = backend.create_account(metadata={"name": "Ada"})
            guide.check(made.metadata == {"name": "Ada"}, "the metadata")
            session_flow(guide, backend, made.account_id)
            data = Path(scratch) / "data"
            key_flow(guide, backend, made.account_id, data)
            with guide.step("No credential at all", refused=ApiKeyRequired):
                anybody.list_wallets()
            operate(guide, "Give the platform new signing keys", "key rotate-signing all", data)
            operate(guide, "Prove that the books are right", "wallet audit", data)
    except SurpriseError as surprise:
        print(f"\n{surprise}", file=sys.stderr)
        return 1
    print(f"\nall {guide.steps_count} steps ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
