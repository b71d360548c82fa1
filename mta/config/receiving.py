"""
Options of how mail comes in.

Owns: the tables [[listener]], [relay], [local], [limits] and [content].
Never: compares one option with another (`mta/config/consistency.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mta.config.fields import (
    Count,
    Domain,
    DomainPattern,
    Duration,
    EndpointText,
    Fingerprint,
    MaildirTemplate,
    Name,
    Network,
    OptionalCount,
    OptionalFile,
    PositiveDuration,
    Role,
    Size,
)
from mta.config.option import REQUIRED, Table, option
from mta.config.people import Aliases, Moves, User
from mta.config.tables import Delimiter, ForwardPath, RelayRecipient, TableUrls


class Listener(Table):
    """Where mail comes in; at least one."""

    name: Name = option(
        REQUIRED, "The name of the listener in the log and in the events of a message.", unit="text", sample="relay"
    )
    endpoint: EndpointText = option(
        REQUIRED,
        "Where it listens, in Twisted's syntax for server endpoints.",
        unit="endpoint",
        sample="tcp:2525:interface=127.0.0.1",
    )
    role: Role = option(
        REQUIRED,
        'Whom it serves: "mx" the Internet, "relay" our own hosts, "submission" our mail programs (what is missing of'
        ' the header is added), "lmtp" a mail server that hands over its local mail (RFC 2033), "closed" nobody: on a'
        " host that only sends, whoever brings mail hears at once that none is taken (521, RFC 7504).",
        unit='"mx", "relay", "submission", "lmtp", "closed"',
        sample="mx",
    )
    tls: Literal["starttls", "implicit", "none"] = option(
        "starttls",
        'How TLS begins: "starttls" when the client asks for it, where there are tls.certificates; "implicit" with the'
        ' connection, as on port 465; "none" never.',
        unit='"starttls", "implicit", "none"',
        source="RFC 3207, RFC 8314 3",
    )
    auth: bool = option(
        False,
        "Whether clients may log in here, too; role submission offers it in any case, where auth.backend or auth.oauth"
        " names who knows them.",
        unit="true, false",
        source="RFC 8314 3.3: port 25 is no place for passwords",
    )
    auth_without_tls: bool = option(
        False,
        "Whether clients may log in without TLS; allowed on loopback alone.",
        unit="true, false",
        source="RFC 4954 4, RFC 8314",
    )
    proxies: tuple[Network, ...] = option(
        (),
        "The networks of the proxies in front of it: their connections begin with a PROXY header, version 1 or 2, that"
        " names the client; TLS, also implicit, begins behind it. All others are served as the clients that they are.",
        unit="list of networks",
        source="Exim hosts_proxy; nobody until named",
    )
    xclient: tuple[Network, ...] = option(
        (),
        "The networks of the filters and proxies that may say with XCLIENT whose session it is.",
        unit="list of networks",
        source="Postfix smtpd_authorized_xclient_hosts, empty",
    )


class Relay(Table):
    """Who may send where through this host."""

    networks: tuple[Network, ...] = option(
        ("127.0.0.0/8", "::1/128"),
        "The networks whose clients may send anywhere without authentication.",
        unit="list of networks",
        source="Postfix mynetworks, loopback only",
    )
    domains: tuple[DomainPattern, ...] = option(
        (),
        'The domains that anyone may send to through this host: "example.org", ".example.org" for all below it, or "*"'
        " for all, which makes an open relay.",
        unit="list of domains",
        source="Postfix relay_domains, empty",
    )
    recipients: tuple[RelayRecipient, ...] = option(
        (),
        'Who there is at relay.domains: addresses, and "@example.org" for everyone of a domain. Once it or'
        " relay.recipient_tables is set, all others there are refused.",
        unit="list of addresses",
        source="Postfix relay_recipient_maps, empty: anyone",
    )
    recipient_tables: TableUrls = option(
        (),
        "Tables with more of them; the keys are those of relay.recipients, the values do not matter.",
        unit="list of tables",
        source="Postfix relay_recipient_maps, empty",
    )
    refused: tuple[Network, ...] = option(
        (),
        "The networks whose clients are greeted with 554 and may only quit.",
        unit="list of networks",
        source="RFC 5321 3.1; nobody until named",
    )
    client_certificates: tuple[Fingerprint, ...] = option(
        (),
        "The SHA-256 fingerprints of the client certificates whose holders may send anywhere, as `openssl x509 -noout"
        " -fingerprint -sha256` prints them.",
        unit="list of fingerprints",
        source="Postfix relay_clientcerts, empty",
    )
    client_authorities: OptionalFile = option(
        "",
        "A file with certificates of authorities, in PEM: whoever has a client certificate of theirs may send anywhere."
        " An absolute path, or one below state_dir.",
        unit="path",
        source="Postfix permit_tls_all_clientcerts, off by default there too",
    )
    etrn_domains: tuple[Domain, ...] = option(
        (),
        "The domains whose waiting mail a client may have sent at once with ETRN; without one ETRN is not offered.",
        unit="list of domains",
        source="RFC 1985; none until named",
    )
    check_domains: bool = option(
        False,
        "Whether a recipient is refused at once where the DNS says that its domain does not exist (550) or takes no"
        " mail (556), instead of with a bounce later. What the DNS does not say within 5 seconds is accepted.",
        unit="true, false",
        source="Postfix reject_unknown_recipient_domain, off by default there too",
    )


class Local(Table):
    """Which domains and users are delivered here."""

    domains: tuple[Domain, ...] = option(
        (),
        "The domains whose mail is delivered to Maildirs here.",
        unit="list of domains",
        source="nothing is local until it is named",
        sample=("example.org",),
    )
    users: tuple[User, ...] = option(
        (),
        'Who has a mailbox: "alice" at every local domain, "alice@example.org" at one, "*" anyone; postmaster always'
        " has one.",
        unit="list of users",
        source="nobody until named; RFC 5321 4.5.1 for postmaster",
        sample=("alice", "bob"),
    )
    user_tables: TableUrls = option(
        (),
        'Tables with more users: the keys are "alice@example.org" and "alice", the values do not matter. Where one'
        " can't be asked the client tries again later (451).",
        unit="list of tables",
        source="Postfix local_recipient_maps, virtual_mailbox_maps; empty",
    )
    recipient_delimiter: Delimiter = option(
        "",
        'What may stand between a name and an extension that it takes: with "+", mail for alice+lists is for alice,'
        ' unless somebody has the whole name. Several characters are each one, "" none.',
        unit="characters",
        source="Postfix recipient_delimiter, none; RFC 5233",
    )
    forward: ForwardPath = option(
        "",
        "The files in which users say where their mail goes, as in .forward; {user} and {domain} stand for the parts"
        " of the address, and a relative path is below state_dir. Empty means that there are none.",
        unit="path",
        source="Postfix forward_path; off until named",
    )
    maildir: MaildirTemplate = option(
        "mail/{user}/Maildir",
        "The Maildir of a user, below state_dir; {user} and {domain} stand for the parts of the address.",
        unit="path",
        source="one Maildir for each user",
    )
    aliases: Aliases = option(
        {},
        'Who stands for others: "sales" at every local domain, "team@example.org" at one; the members are names at the'
        " same domain, full addresses anywhere, or other aliases. An alias that lists itself means its own mailbox.",
        unit="table of lists of mailboxes",
        source="Postfix virtual_alias_maps, empty",
        sample={"sales": ("alice", "bob")},
    )
    alias_tables: TableUrls = option(
        (),
        'Tables with more aliases: the keys are "sales@example.org", "sales", and "@example.org" for who has no other'
        " entry; the values are lists as in /etc/aliases. The configuration comes first, then each table.",
        unit="list of tables",
        source="Postfix alias_maps, virtual_alias_maps; empty",
    )
    moved: Moves = option(
        {},
        'Who has moved, and where to: oldname = "new@example.net".',
        unit="table of mailboxes",
        source="Postfix relocated_maps, empty",
    )
    moved_tables: TableUrls = option(
        (), "Tables with more of them.", unit="list of tables", source="Postfix relocated_maps, empty"
    )
    moved_reply: Literal["251", "551"] = option(
        "251",
        'What happens to mail for who has moved: "251" forwards it and tells the new address, "551" only tells it.',
        unit='"251", "551"',
        source="RFC 5321 3.4",
    )


class Limits(Table):
    """What a client of the server may ask for."""

    connections: Count = option(
        1000, "How many connections there may be in all.", unit="count", source="Postfix, 100 processes"
    )
    connections_per_client: Count = option(
        50,
        "How many connections one client may have; an IPv6 /64 is one client.",
        unit="count",
        source="Postfix smtpd_client_connection_count_limit",
    )
    connection_rate: Count = option(
        300, "How many connections one client may open in a minute.", unit="count per minute", source="mox"
    )
    message_rate: OptionalCount = option(
        0,
        "How many messages one client may send in a minute, clients in relay.networks excepted; 0 for any number.",
        unit="count per minute",
        source="Postfix smtpd_client_message_rate_limit",
    )
    recipient_rate: OptionalCount = option(
        0,
        "How many recipients one client may name in a minute, clients in relay.networks excepted; 0 for any number.",
        unit="count per minute",
        source="Postfix smtpd_client_recipient_rate_limit",
    )
    message_size: Annotated[Size, Field(ge=1)] = option(
        "50MiB",
        "The largest message that is accepted.",
        unit="size",
        source="Exim; RFC 5321 4.5.3.1.7: at least 64 KiB",
    )
    recipients: Count = option(
        1000,
        "How many recipients a message may have.",
        unit="count",
        source="Postfix; RFC 5321 4.5.3.1.8: at least 100",
    )
    expanded_recipients: Count = option(
        10_000,
        "How many recipients a message may have once aliases are expanded; an alias with more members takes no mail.",
        unit="count",
        source="ten times limits.recipients; Postfix virtual_alias_expansion_limit is 1000 for one address",
    )
    messages_per_session: Count = option(
        100, "How many messages a client may send over one connection.", unit="count", source="OpenSMTPD"
    )
    command_line: Annotated[int, Field(ge=512, le=65_536)] = option(
        2048, "The longest command line.", unit="octets", source="Postfix; RFC 5321 4.5.3.1.4: at least 512"
    )
    text_line: Annotated[int, Field(ge=1000)] = option(
        2000, "The longest line of a message.", unit="octets", source="twice what RFC 5321 4.5.3.1.6 allows"
    )
    header_size: Annotated[Size, Field(ge=1000, le=16 << 20)] = option(
        "256KiB",
        "The largest header of a message.",
        unit="size",
        source="Postfix header_size_limit is 100 KiB for one field",
    )
    mime_depth: Annotated[int, Field(ge=1, le=1000)] = option(
        100,
        "How deep the parts of a message may be nested, counting each multipart and each message inside it.",
        unit="count",
        source="Postfix mime_nesting_limit",
    )
    idle_timeout: PositiveDuration = option(
        "300s", "How long a client may stay silent.", unit="duration", source="RFC 5321 4.5.3.2.7: at least 5 minutes"
    )
    errors_soft: Count = option(
        10,
        "How many errors a client may make before the replies to them are delayed.",
        unit="count",
        source="Postfix smtpd_soft_error_limit",
    )
    errors_hard: Count = option(
        20, "After how many errors a client is sent away.", unit="count", source="Postfix smtpd_hard_error_limit"
    )
    junk_commands: Count = option(
        100,
        "How many commands that lead to no mail a client may send.",
        unit="count",
        source="Postfix smtpd_junk_command_limit",
    )
    error_delay: Duration = option(
        "1s", "How long the reply to an error is delayed.", unit="duration", source="Postfix smtpd_error_sleep_time"
    )
    hops: Annotated[int, Field(ge=1, le=1000)] = option(
        50,
        "How many Received fields a message may have before it counts as looping.",
        unit="count",
        source="Postfix hopcount_limit; RFC 5321 6.3 suggests 100",
    )
    greet_wait: Duration = option(
        "0s",
        "How long the greeting is held back from clients outside relay.networks, to catch those that talk first.",
        unit="duration",
        source="Postfix postscreen_greet_wait is 6 s; off here",
    )
    policy_timeout: PositiveDuration = option(
        "30s",
        "How long a policy may take to decide on a command, before the client is told 451 and goes on.",
        unit="duration",
        source="RFC 5321 4.5.3.2.3: clients wait 5 minutes for the reply to RCPT",
    )
    proxy_timeout: PositiveDuration = option(
        "5s",
        "How long a connection from one of listener.proxies may take to name its client.",
        unit="duration",
        source="Postfix smtpd_upstream_proxy_timeout",
    )
    free_space_percent: Annotated[int, Field(ge=0, le=90)] = option(
        10,
        "How much of the disk must be free for mail to be accepted; at least twice message_size must be in any case.",
        unit="per cent",
        source="KumoMTA, 10 %",
    )


class Content(Table):
    """What is done about malformed content."""

    bare_newlines: Literal["reject", "normalize"] = option(
        "reject",
        "What happens to a message with a bare CR or LF; only CRLF.CRLF ever ends one.",
        unit='"reject", "normalize"',
        source="Postfix smtpd_forbid_bare_newline; RFC 5321 2.3.8",
    )
    normalize_networks: tuple[Network, ...] = option(
        (),
        "The networks whose messages are normalised in any case.",
        unit="list of networks",
        source="Postfix smtpd_forbid_bare_newline_exclusions; empty here",
    )
