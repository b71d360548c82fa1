#!/bin/bash
# Install what the end-to-end tests use as peers: swaks, and smtp-source and smtp-sink of Debian's postfix.
set -euo pipefail

missing=()
command -v swaks >/dev/null || missing+=(swaks)
PATH=$PATH:/usr/sbin command -v smtp-sink >/dev/null || missing+=(postfix)
# A bare machine's python3 lacks the part that makes environments.
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" != 0 ]; then
    echo "not root: the tests that need ${missing[*]} will be skipped"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# Postfix must not come up as this machine's mail system: policy-rc.d says no to every start while packages install.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
apt-get update -q
apt-get install -qy --no-install-recommends "${missing[@]}"
