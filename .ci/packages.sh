#!/bin/bash
# Install what the tests use as peers: swaks, msmtp, gsasl, curl, Postfix with smtp-source and smtp-sink, Exim, Dovecot's
# LMTP server, Unbound and NSD, HAProxy, PostgreSQL and OpenLDAP.
set -euo pipefail

# Debian lets only one of Postfix and Exim be installed, so Exim's files alone go here; tests/real_peers looks for them.
exim=/usr/local/lib/exim4-daemon-light
export PATH=$PATH:/usr/sbin

missing=()
command -v swaks >/dev/null || missing+=(swaks)
perl -MNet::SSLeay -e 1 2>/dev/null || missing+=(libnet-ssleay-perl)  # TLS of swaks
# CRAM-MD5, DIGEST-MD5 and NTLM of swaks.
perl -MDigest::HMAC_MD5 -e 1 2>/dev/null || missing+=(libdigest-hmac-perl)
perl -MAuthen::SASL -e 1 2>/dev/null || missing+=(libauthen-sasl-perl)
perl -MAuthen::NTLM -e 1 2>/dev/null || missing+=(libauthen-ntlm-perl)
command -v msmtp >/dev/null || missing+=(msmtp)
command -v curl >/dev/null || missing+=(curl)
command -v gsasl >/dev/null || missing+=(gsasl)
command -v smtp-sink >/dev/null || missing+=(postfix)
command -v unbound >/dev/null || missing+=(unbound)
command -v nsd >/dev/null || missing+=(nsd)
command -v haproxy >/dev/null || missing+=(haproxy)
command -v slapd >/dev/null || missing+=(slapd)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
[ -x /usr/lib/dovecot/lmtp ] || missing+=(dovecot-core dovecot-lmtpd)
# A bare machine's python3 lacks the part that makes environments.
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
unpack=()
command -v exim4 >/dev/null || [ -x $exim/usr/sbin/exim4 ] || unpack=(exim4-daemon-light)
[ ${#missing[@]} = 0 ] && [ ${#unpack[@]} = 0 ] && exit 0

if [ "$(id -u)" != 0 ]; then
    echo "not root: the tests that need ${missing[*]} ${unpack[*]} will be skipped"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# None of them must come up as this machine's mail system: policy-rc.d says no to every start while packages install.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
fi
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
apt-get update -q
[ ${#missing[@]} = 0 ] || apt-get install -qy --no-install-recommends "${missing[@]}"
[ ${#unpack[@]} = 0 ] && exit 0

downloads=$(mktemp -d)
(cd "$downloads" && apt-get download -q -o APT::Sandbox::User=root "${unpack[@]}")
# The libraries of the package, without the parts of Exim that conflict with Postfix.
libraries=$(dpkg-deb --field "$downloads"/*.deb Depends | tr ',' '\n' | sed -n 's/^ *\(lib[a-z0-9.+-]*\).*/\1/p')
# shellcheck disable=SC2086
apt-get install -qy --no-install-recommends $libraries
dpkg -x "$downloads"/*.deb $exim
# The tests start it as root; nobody else needs it to become root.
chmod u-s $exim/usr/sbin/exim4
rm -r "$downloads"
# Exim reads no configuration before it knows the user it was built for.
getent passwd Debian-exim >/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin Debian-exim
