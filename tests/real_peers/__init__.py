"""
Mail between the real daemon and other people's programs, both directions, over all extensions of SMTP that both know.

Peers (Debian's packages; `.ci/packages.sh` installs them all so that none starts as a service):

    postfix              Postfix as server and client, its LMTP client, smtp-source, smtp-sink
    exim4-daemon-light   Exim as server and client. It conflicts with postfix, so only its files are unpacked, below
                         /usr/local/lib/exim4-daemon-light, with the libraries it needs and the user Debian-exim
    dovecot-lmtpd        Dovecot as LMTP server, over TCP and over a UNIX socket
    msmtp, swaks         clients; smtplib of Python is one more
    unbound, nsd         a validating resolver, and a name server for zones that the tests sign; root is not needed
    haproxy              in front of us, with the PROXY protocol
    postgresql, slapd    with tables of users in them; root is not needed

Postfix, Exim, Dovecot and HAProxy start as root alone; elsewhere their tests are skipped, and say so.
`python -m tests.real_peers` runs all of it and prints a table: peer, direction, extension, result.
"""
