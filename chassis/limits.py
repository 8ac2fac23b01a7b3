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

# Credentials
TOKEN_MAX_BYTES: Final = 2048
PASSPORT_LIFETIME_SECONDS: Final = 30
PASSPORT_VERDICTS_COUNT: Final = 10_000
LAST_USED_RESOLUTION_SECONDS: Final = 30
BAD_KEY_CACHE_COUNT: Final = 10_000
BAD_KEY_CACHE_SECONDS: Final = 30
API_KEYS_PER_OWNER_COUNT: Final = 50
# Ten years with their leap days.
API_KEY_LIFETIME_MAX_SECONDS: Final = 3653 * 24 * 3600
# Expired keys stay listed until they are deleted; past this many the oldest of them are left out.
API_KEYS_LISTED_COUNT: Final = 1000
ORIGINS_COUNT: Final = 100
ORIGIN_MAX_CHARACTERS: Final = 255

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
LIST_TRANSFERS_DEFAULT_COUNT: Final = 100
LIST_TRANSFERS_MAX_COUNT: Final = 1000
