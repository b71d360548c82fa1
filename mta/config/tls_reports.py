"""
Options of reports on TLS (RFC 8460).

Owns: the table [tls.reports].
Never: counts or sends anything (`mta/tls/`).
"""

from __future__ import annotations

from mta.config.fields import OptionalMailbox
from mta.config.option import Table, option


class TlsReports(Table):
    """Reports to the domains that ask for them (TLSRPT) on how TLS with their mail hosts goes (docs/tls.md)."""

    enabled: bool = option(
        True,
        "Whether sessions with the mail hosts of other domains are counted, for `mta tlsrpt show` and for reports.",
        unit="true, false",
        source="mox does; a domain that wants no report costs one question to the DNS a day",
    )
    mail: bool = option(
        False,
        "Whether reports go by mail, too, and not by HTTPS alone. Receivers must ignore a report by mail without a DKIM"
        " signature, and this server does not sign: have the next hop do so.",
        unit="true, false",
        source="RFC 8460 3",
    )
    organization: str = option(
        "", "Who reports, as people read it; empty means hostname.", unit="text", source="RFC 8460 4.4"
    )
    contact: OptionalMailbox = option(
        "",
        "Whom the receivers of reports may ask; its domain names the reporter. Empty means postmaster at hostname.",
        unit="mailbox",
        source="RFC 5321 4.5.1",
    )
    sender: OptionalMailbox = option(
        "", "Whom reports by mail come from; empty means contact.", unit="mailbox", source="RFC 8460 5.3"
    )
