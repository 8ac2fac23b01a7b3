"""Every limit of the platform in one place; the unit is the last word of the name."""

from __future__ import annotations

from typing import Final

# Requests
REQUEST_DEADLINE_SECONDS: Final = 5.0
REQUEST_DEADLINE_MAX_SECONDS: Final = 30.0
# What a process keeps of its own deadline for answering.
DEADLINE_RESERVE_SECONDS: Final = 0.02
BODY_MAX_BYTES: Final = 64 * 1024
HEADERS_MAX_BYTES: Final = 32 * 1024
JSON_MAX_DEPTH: Final = 32
USER_AGENT_MAX_CHARACTERS: Final = 512

# The edge
# Requests on their way to one service: a fraction of a second's work, so that whoever is let in is
# answered well within the deadline.
EDGE_CLUSTER_REQUESTS_COUNT: Final = 256
EDGE_CONNECTIONS_COUNT: Final = 8192
# Descriptors that the edge keeps free of connections, for everything else.
EDGE_SPARE_DESCRIPTORS_COUNT: Final = 256
LISTEN_BACKLOG_COUNT: Final = 4096
# What is still read, and thrown away, of a connection that has had its last answer.
LINGER_MAX_BYTES: Final = 16 * 1024 * 1024
LINGER_SECONDS: Final = 2.0
# A gRPC client takes 8 KiB of trailing metadata by default and drops an answer with more.
ERROR_DETAILS_COUNT: Final = 16
ERROR_PATH_MAX_CHARACTERS: Final = 128

# gRPC
RPC_REQUEST_MAX_BYTES: Final = 128 * 1024
# 5000 accounts with 8 KiB of metadata each, and their framing.
RPC_RESPONSE_MAX_BYTES: Final = 48 * 1024 * 1024
RPC_METADATA_MAX_BYTES: Final = 32 * 1024
# Handlers that run at once on one listener; more answer OVERLOADED.
RPC_CONCURRENT_COUNT: Final = 512
# The core answers a bare CANCELLED past its own bound, so that one lies far beyond ours.
RPC_PENDING_COUNT: Final = 20_000
DRAIN_SECONDS: Final = 5.0
# Reflection, which anybody may ask: streams at once in one listener, and how long each may stay.
REFLECTION_STREAMS_COUNT: Final = 16
REFLECTION_STREAM_SECONDS: Final = 10.0
# A public connection is asked to reconnect after so long, and its calls are ended after the grace:
# the core bounds nothing else about a call whose message never comes.
PUBLIC_CONNECTION_AGE_MS: Final = 300_000
PUBLIC_CONNECTION_GRACE_MS: Final = 30_000

# Idempotency keys: an answer is kept for so long, and each new one removes a few that are older.
IDEMPOTENCY_KEY_MAX_CHARACTERS: Final = 255
IDEMPOTENCY_KEPT_SECONDS: Final = 24 * 3600
IDEMPOTENCY_SWEPT_COUNT: Final = 8

# Signed requests
SIGNED_PAYLOAD_MAX_BYTES: Final = 8 * 1024
# How far the time in a request's id may lie behind and ahead of ours when it arrives.
SIGNED_REQUEST_AGE_SECONDS: Final = 15
SIGNED_REQUEST_LEAD_SECONDS: Final = 5
# How old it may be when it takes effect; past that its id can be closed for good.
SIGNED_REQUEST_CLOSED_SECONDS: Final = 20
SIGNED_REQUEST_KEPT_SECONDS: Final = 7 * 24 * 3600
# Keys whose facts a service that does not own them keeps at hand.
KNOWN_SIGNERS_COUNT: Final = 50_000

# Rate limits: calls in any 60 seconds, unless a configuration says otherwise
READ_PER_MINUTE_COUNT: Final = 300
WRITE_PER_MINUTE_COUNT: Final = 60
ORDER_PER_MINUTE_COUNT: Final = 600
BROWSER_SESSION_PER_MINUTE_COUNT: Final = 30
BAD_CREDENTIALS_PER_MINUTE_COUNT: Final = 30
RATE_LIMIT_MAX_PER_MINUTE_COUNT: Final = 1_000_000
# What all credentials of an account may do together, in terms of what each may.
ACCOUNT_RATE_FACTOR: Final = 10
# Windows kept at once, of about a KiB each: one credential has one for every class that it uses.
RATE_LIMIT_WINDOWS_COUNT: Final = 200_000
# What a request waits for the store that processes share at most, and how many ask it at once.
RATE_LIMIT_STORE_BUDGET_SECONDS: Final = 0.05
RATE_LIMIT_STORE_DECISIONS_COUNT: Final = 16

# Metrics: connections at once, how long each may take for the head of a request, and stay idle after
# an answer.
METRICS_CONNECTIONS_COUNT: Final = 16
METRICS_HEAD_SECONDS: Final = 10
METRICS_IDLE_SECONDS: Final = 75

# Credentials
TOKEN_MAX_BYTES: Final = 2048
BROWSER_SESSION_LIFETIME_SECONDS: Final = 3600
PASSPORT_LIFETIME_SECONDS: Final = 30
PASSPORT_VERDICTS_COUNT: Final = 10_000
# How long a service believes the public keys of passports before it asks auth again.
PASSPORT_KEYS_MAX_AGE_SECONDS: Final = 60
# Private signing keys. A new one signs when every process of its directory has read it and can answer
# for it; the least leaves each of them two looks, the default lets a slow or badly timed one catch up.
KEY_RING_REREAD_SECONDS: Final = 5
SIGNING_KEY_LEAD_MIN_SECONDS: Final = 2 * KEY_RING_REREAD_SECONDS
SIGNING_KEY_LEAD_SECONDS: Final = 30
SIGNING_KEY_LEAD_MAX_SECONDS: Final = 24 * 3600
# Beyond the life of what a key signed last: clocks that differ, and processes that read late.
SIGNING_KEY_KEPT_MARGIN_SECONDS: Final = 60
LAST_USED_RESOLUTION_SECONDS: Final = 30
BAD_KEY_CACHE_COUNT: Final = 10_000
BAD_KEY_CACHE_SECONDS: Final = 30
BAD_KEY_CACHE_ORIGINS_COUNT: Final = 10
API_KEYS_PER_OWNER_COUNT: Final = 50
# Ten years with their leap days.
API_KEY_LIFETIME_MAX_SECONDS: Final = 3653 * 24 * 3600
# Expired keys stay listed until they are deleted; past this many the oldest of them are left out.
API_KEYS_LISTED_COUNT: Final = 1000
API_KEY_OVERLAP_MAX_SECONDS: Final = 7 * 24 * 3600
ORIGINS_COUNT: Final = 100
ORIGIN_MAX_CHARACTERS: Final = 255
ADMIN_MASTER_KEYS_PER_ACCOUNT_COUNT: Final = 8
SCOPED_MASTER_KEYS_PER_SUBACCOUNT_COUNT: Final = 8
# Of all subaccounts together, which keys does not know: an index is any that fits.
SCOPED_MASTER_KEYS_PER_ACCOUNT_COUNT: Final = 512
# How far the clocks of two services may be apart where one takes a key for expired.
EXPIRY_MARGIN_SECONDS: Final = 60
SESSION_KEYS_PER_MASTER_KEY_COUNT: Final = 32
# Ten years with their leap days.
SESSION_KEY_LIFETIME_MAX_SECONDS: Final = API_KEY_LIFETIME_MAX_SECONDS
# Keys that the wallet service is told to stop in one call, and accounts in one round of telling it.
FENCED_KEYS_AT_ONCE_COUNT: Final = 1000
FENCED_ACCOUNTS_AT_ONCE_COUNT: Final = 100
# Of a round's accounts, those whose turn it is at one time: a few that wallet hangs on are not all of them.
FENCES_TOLD_AT_ONCE_COUNT: Final = 8
# What one call of it may take: longer than wallet waits for a lock, and so far within a request's time that
# whoever revoked a key still hears that wallet was not told.
FENCE_CALL_SECONDS: Final = 2.0
DEVICE_KEYS_PER_ACCOUNT_COUNT: Final = 20
DEVICE_KEY_IDLE_SECONDS: Final = 7 * 24 * 3600
DEVICE_KEY_LIFETIME_SECONDS: Final = 30 * 24 * 3600
# The greatest number of a subaccount that a credential can be pinned to.
SUBACCOUNT_INDEX_MAX: Final = 2**31 - 1

# Sessions
LIVE_SESSIONS_PER_ACCOUNT_COUNT: Final = 100
SESSION_IDLE_MIN_SECONDS: Final = 120
SESSION_IDLE_DEFAULT_SECONDS: Final = 7 * 24 * 3600
SESSION_CAP_DEFAULT_SECONDS: Final = 30 * 24 * 3600
SESSION_CAP_MAX_SECONDS: Final = 365 * 24 * 3600
REFRESH_REPLAY_SECONDS: Final = 30

# Accounts
METADATA_MAX_BYTES: Final = 8192
NAME_MAX_CHARACTERS: Final = 64
LIST_ACCOUNTS_DEFAULT_COUNT: Final = 1000
LIST_ACCOUNTS_MAX_COUNT: Final = 5000

# Wallets
WALLETS_PER_ACCOUNT_COUNT: Final = 64
SUBACCOUNTS_PER_ACCOUNT_COUNT: Final = 64
WALLET_LIST_DEFAULT_COUNT: Final = 100
WALLET_LIST_MAX_COUNT: Final = 1000

# Withdrawals
WITHDRAWAL_ADDRESSES_PER_ACCOUNT_COUNT: Final = 32
WITHDRAWAL_ADDRESS_WAIT_SECONDS: Final = 24 * 3600
# Ninety days.
WITHDRAWAL_ADDRESS_WAIT_MAX_SECONDS: Final = 90 * 24 * 3600
# How long the embedded rail leaves a withdrawal to whoever may want to refuse it.
WITHDRAWAL_DELAY_SECONDS: Final = 10
WITHDRAWAL_DELAY_MAX_SECONDS: Final = 7 * 24 * 3600
# What an account may withdraw of an asset in any 24 hours, in whole ones.
WITHDRAWAL_LIMIT_PER_DAY: Final = 10_000
WITHDRAWAL_LIMIT_MAX_PER_DAY: Final = 10**15
# Steps that the embedded rail takes in one round.
WITHDRAWAL_STEPS_AT_ONCE_COUNT: Final = 200

# Trading
OPEN_ORDERS_PER_WALLET_COUNT: Final = 1000
# Resting orders that one order can meet; what is left of it then is cancelled.
MATCHED_ORDERS_COUNT: Final = 1000
# A year.
ORDER_LIFETIME_MAX_SECONDS: Final = 365 * 24 * 3600
# Orders that one statement ends, of a market that closes or of those that have expired.
ORDERS_ENDED_AT_ONCE_COUNT: Final = 500
# Prices of one side that a book shows.
BOOK_LEVELS_COUNT: Final = 1000
# Terms of markets kept at hand, under the market's name and its two tokens'.
KNOWN_MARKETS_COUNT: Final = 30_000
# Between two rounds of what a server does by itself.
BACKGROUND_PAUSE_SECONDS: Final = 1.0
