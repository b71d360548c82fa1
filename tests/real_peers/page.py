"""
Render docs/peers.md: which peer, which mechanism, what comes of it, and the test that shows it.

Owns: the page, and the list of bad input with the tests that send it.
Never: runs a test: CI does, and `python -m tests.real_peers` prints what came of each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.real_peers.__main__ import crossings

_HEAD = """\
# Peers

What other mail software and this server do with one another, by tests with the real programs on loopback. `make docs`
renders it from the marks and the first sentences of those tests; CI runs them all, and `python -m tests.real_peers`
runs them and prints what came of each. The peers are those of Debian 12 (`.ci/packages.sh`).

*To us* is the peer as client, *from us* as server, *through us* both. "no" in front of a mechanism: it is not offered,
and the test shows how that is told.

"""
_BAD = """
## Bad input

What is wrong, or forged, is a reply or a deferral that says so; the mail is refused to who has it, or waits.

"""
# Input, who meets it, what comes of it, and the tests.
BAD_INPUT = (
    (
        "expired, self-signed, for another name, an incomplete chain, a stranger's",
        "our client at `verify`",
        "deferred with the reason and the date or name; nothing of the message is said; the next host is tried",
        ("delivery.test_tls.BadCertificateTests.test_verify", "real_peers.test_postfix_tls.ToPostfixTlsTests"),
    ),
    (
        "the same",
        "our client at `may` and `encrypt`",
        "sent, and the log says `unverified` (RFC 7435)",
        ("delivery.test_tls.BadCertificateTests.test_may_and_encrypt",),
    ),
    (
        "the same",
        "our fetch of an MTA-STS policy",
        "no policy; the one that is held stays to its end",
        ("tls.test_sts_fetch.CertificateTests.test_table", "tls.test_sts.FailureTests.test_old_policy_is_kept"),
    ),
    (
        "a certificate that matches no TLSA record",
        "our client at `dane`",
        "the next host, or deferred with the record",
        ("delivery.test_discovered_tls.DaneTests.test_wrong", "real_peers.test_signed_dns"),
    ),
    (
        "garbage for a handshake",
        "our server",
        "one line `tls-failed`, and the connection ends",
        ("server.test_tls.HandshakeTests.test_garbage", "real_peers.test_tls.OpensslTests.test_garbage"),
    ),
    (
        "garbage for a handshake",
        "our client",
        "at `may` once more in clear, elsewhere deferred",
        (
            "delivery.test_tls.FallbackTests.test_garbage",
            "delivery.test_tls.FallbackTests.test_never_where_tls_is_demanded",
        ),
    ),
    (
        "STARTTLS taken out by a third party",
        "our client where TLS is demanded",
        "deferred, nothing of the message is said, and it goes out when that ends",
        (
            "real_peers.test_postfix_tls.ToPostfixTlsTests.test_downgrade",
            "delivery.test_discovered_tls.DaneTests.test_stripped",
        ),
    ),
    (
        "STARTTLS taken out by a third party",
        "clients of ours that want TLS",
        "they keep their mail and their passwords",
        (
            "real_peers.test_tls_clients.PostfixTests.test_stripped",
            "real_peers.test_tls_clients.EximTests.test_stripped",
            "real_peers.test_tls_clients.SwaksTests.test_stripped",
            "real_peers.test_mechanisms.MsmtpTests.test_stripped",
        ),
    ),
    (
        "commands in clear behind STARTTLS, or replies",
        "our server, our client",
        "dropped",
        ("server.test_tls.InjectionTests", "smtp_client.test_starttls.StartTlsTests.test_nothing_injected_survives"),
    ),
    (
        "TLS 1.0 and 1.1",
        "our server",
        "an alert for the version, and a line of the log",
        (
            "real_peers.test_tls_clients.OpensslTests.test_old_versions",
            "server.test_tls.HandshakeTests.test_old_versions",
        ),
    ),
    (
        "an MTA-STS policy above 64 KiB, endless, cut short",
        "our fetch of it",
        "no policy, told as `sts-policy-invalid`; not a bit more is read",
        ("tls.test_sts_fetch.LimitTests", "tls.test_sts_fetch.BadAnswerTests.test_cut"),
    ),
    (
        "a redirect, another status, another content type, no policy",
        "our fetch of it",
        "no policy, with the status or the type",
        ("tls.test_sts_fetch.BadAnswerTests.test_table",),
    ),
    (
        "an AUTH line or response above 12,288 octets",
        "our server",
        "500 5.5.6, and the session goes on",
        ("server.test_login.ConversationTests.test_long_lines", "smtp_server.test_authenticating"),
    ),
    (
        "bad base64, a response out of turn",
        "our server",
        "501 5.5.2; it counts as a failure",
        ("smtp_server.test_authenticating", "auth.test_mechanisms"),
    ),
    (
        "anything at all on the port of our MTA-STS policy",
        "our web server",
        "400, 404, 405, or the end of the connection",
        ("tls.test_sts_site.PageTests.test_garbage", "tls.test_sts_site.PageTests.test_other_requests"),
    ),
)


def _rows() -> Iterator[tuple[str, str, str, str, str]]:
    for marked, case in crossings():
        method = getattr(case, case.id().rpartition(".")[2])
        said = " ".join((method.__doc__ or "").partition("\n\n")[0].split())
        test = case.id().removeprefix("tests.")
        yield marked.peer, marked.direction, ", ".join(marked.extensions), said, test


def render() -> str:
    """The page."""
    lines = ["| peer | direction | mechanism | result | test |", "|---|---|---|---|---|"]
    for row in sorted(_rows(), key=lambda row: (row[0].lower(), row[1], row[2])):
        *words, test = (cell.replace("|", "\\|") for cell in row)
        lines.append(f"| {' | '.join(words)} | `{test}` |")
    bad = ["| input | who meets it | what comes of it | tests |", "|---|---|---|---|"]
    for what, who, outcome, tests in BAD_INPUT:
        bad.append(f"| {what} | {who} | {outcome} | {', '.join(f'`{test}`' for test in tests)} |")
    return _HEAD + "\n".join(lines) + "\n" + _BAD + "\n".join(bad) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
