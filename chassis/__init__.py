"""What every Sealgate process needs, with no business words in it."""

import os

# The C core of gRPC reads this when it is first imported. Left alone it writes lines of its own kind
# among the JSON ones, one for each malformed header that a stranger sends.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
