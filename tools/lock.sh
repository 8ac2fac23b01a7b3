#!/bin/sh
# Renews the hash-pinned lock files from pyproject.toml; run by `make lock`.
set -eu
cd "$(dirname "$0")/.."
# As in the Makefile.
export UV_SYSTEM_CERTS=1
compile() {
    .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
        --no-annotate --custom-compile-command "make lock" "$@"
}
echo uv | compile - --output-file requirements/uv.txt
compile pyproject.toml --output-file requirements/run.txt
compile pyproject.toml --group test --constraints requirements/run.txt --output-file requirements/test.txt
compile pyproject.toml --group test --group tools --constraints requirements/test.txt \
    --output-file requirements/tools.txt
