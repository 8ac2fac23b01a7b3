#!/bin/sh
# Installs the Chromium that tests/browser drives, from Debian's packages; run by `make browser`.
set -eu
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
    echo "Chromium and its driver are here: $(command -v chromium), $(command -v chromedriver)"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "There is no apt-get here: install Chromium as \`chromium\` and its driver as \`chromedriver\`," >&2
    echo "both of the same version, where PATH finds them." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Installing Chromium needs root; as root run: apt-get update && apt-get install chromium chromium-driver" >&2
    exit 1
fi
echo "Installing Debian's packages chromium and chromium-driver; this needs the network and about 400 MB"
export DEBIAN_FRONTEND=noninteractive
# Where there is no network, that is to be known soon.
apt="apt-get -qq -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30"
$apt update
$apt install --yes --no-install-recommends chromium chromium-driver
command -v chromium >/dev/null && command -v chromedriver >/dev/null || {
    echo "The packages brought no \`chromium\` and \`chromedriver\`: this system calls its browser otherwise." >&2
    exit 1
}
