"""
Options of how mail goes out.

Owns: the tables [[route]], [dns], [queue], [client] and [bounce].
Never: compares one option with another (`mta/config/consistency.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mta.config.fields import (
    Count,
    DomainLevels,
    Duration,
    Durations,
    Hop,
    HostName,
    Languages,
    Mechanisms,
    OptionalCount,
    OptionalFile,
    OptionalHostName,
    OptionalIP,
    OptionalMailbox,
    OptionalPath,
    OptionalTls,
    PositiveDuration,
    RecipientPatterns,
    Server,
    Size,
    Tls,
)
from mta.config.option import REQUIRED, Table, option
from mta.config.tokens import TokenTable
from mta.login import MECHANISMS


class RouteTable(Table):
    """Where mail goes: the first rule that matches wins; without one, local domains and the MX lookup decide."""

    recipients: RecipientPatterns = option(
        REQUIRED,
        'Whom it is for: "*@example.org", "*@.example.org" for all below it, "alice@example.org", "*" for everyone.',
        unit="list of patterns",
        sample=("*@internal.test", "*@.example.net"),
    )
    next_hop: Hop = option(
        REQUIRED,
        'Where their mail goes: "smtp://HOST:PORT", "smtps://HOST:PORT" (TLS from the start), "lmtp://HOST:PORT",'
        ' "lmtp+unix:PATH", "mx:", "mx:DOMAIN", "maildir:PATH", "mbox:PATH", "pipe:NAME",'
        ' "https://HOST/PATH", "discard:" or "error:550 5.1.1 TEXT". A list of the first three kinds is tried in'
        ' order; with "smtp://HOST:PORT?weight=N" at each, they share the mail, and 0 is a reserve.',
        unit="next hop, or list of them",
        sample="smtp://127.0.0.1:2501",
    )
    tls: OptionalTls = option(
        "",
        "How much TLS this next hop must offer: a level as in client.tls.default. Empty leaves it to client.tls;"
        ' "verify" for smtps:// and "none" for LMTP.',
        unit="level",
        source="docs/tls.md",
    )
    user: str = option(
        "",
        'Who we are there (AUTH), for smtp:// and smtps://; empty for nobody. With a user, tls is "verify" by default.',
        unit="text",
        source="most next hops know us by our address",
    )
    password: str = option(
        "",
        'The password of the user: "${NAME}", with NAME, or NAME_FILE as the path of a file, in the environment.',
        unit="text",
        source="docs/tls.md",
    )
    token: str = option(
        "",
        "In place of a password: the name of the [[client.tokens]] whose access tokens let the user in.",
        unit="text",
        source="docs/authentication.md",
    )
    mechanisms: Mechanisms = option(
        MECHANISMS,
        "How the next hop may be told who we are: the strongest of these that it offers too. Without PLAIN and LOGIN"
        " the password is never told, whoever asks. OAUTHBEARER and XOAUTH2 are for tokens.",
        unit="list of mechanisms",
        source="RFC 7677, RFC 7628, RFC 4616",
    )


class Dns(Table):
    """How names are looked up."""

    servers: tuple[Server, ...] = option(
        (),
        'The resolvers, "IP", "IP:PORT" or "[IPv6]:PORT"; empty means those of /etc/resolv.conf.',
        unit="list of addresses",
        source="resolv.conf(5)",
    )
    timeout: PositiveDuration = option(
        "5s", "How long to wait for one server to answer.", unit="duration", source="resolv.conf(5) timeout"
    )
    attempts: Annotated[int, Field(ge=1, le=10)] = option(
        2, "How often the whole list of servers is asked.", unit="count", source="resolv.conf(5) attempts"
    )
    cache_size: Annotated[int, Field(ge=0)] = option(
        10_000, "How many answers are remembered.", unit="count", source="a few megabytes of memory"
    )
    negative_ttl: Duration = option(
        "1h",
        "The longest that a missing name or record is remembered.",
        unit="duration",
        source="RFC 2308 5: 1 to 3 hours work well",
    )
    trust_ad: Literal["local", "all", "none"] = option(
        "local",
        "Which resolvers are believed that they have validated an answer by DNSSEC (AD), on which DANE rests:"
        ' "local" if all are on this machine\'s loopback, "all" if you vouch for the network in between, "none" for no'
        " DANE.",
        unit='"local", "all", "none"',
        source="RFC 4035 4.9.3: a trusted server over a secure path",
    )
    validated_name: HostName = option(
        "org",
        "A name in a signed zone, asked for at the start and every hour: where a resolver does not call the answer"
        " validated, DANE is off, and the log says so.",
        unit="domain",
        source="signed since 2009",
    )


class Queue(Table):
    """When and how hard delivery is tried."""

    retry: Durations = option(
        ("5m", "10m", "15m", "30m", "1h", "2h", "4h"),
        "The waits between attempts; the last one repeats.",
        unit="list of durations",
        source="RFC 5321 4.5.4.1: two tries in the first hour, then every 2 to 3 hours",
    )
    jitter: Annotated[float, Field(ge=0, lt=1)] = option(
        0.1,
        "How far each wait is spread at random, as a fraction of it, so that mail deferred together does not return"
        " together.",
        unit="fraction",
        source="KumoMTA, jittered waits",
    )
    lifetime: PositiveDuration = option(
        "5d",
        "How long a message is tried before it goes back to its sender.",
        unit="duration",
        source="RFC 5321 4.5.4.1: at least 4 to 5 days",
    )
    bounce_lifetime: PositiveDuration = option(
        "1d",
        "How long a bounce is tried before it is given up.",
        unit="duration",
        source="mail that nobody wants to have back",
    )
    delay_notice: Duration = option(
        "4h",
        "How long a message has waited when its sender is told of the delay, once; 0s for never. List mail, automatic"
        " mail and bounces never get a notice.",
        unit="duration",
        source="OpenSMTPD, 4 hours",
    )
    active_messages: Count = option(
        20_000, "How many messages are worked on at once.", unit="count", source="Postfix qmgr_message_active_limit"
    )
    active_recipients: Count = option(
        200_000, "How many recipients are worked on at once.", unit="count", source="ten for each active message"
    )
    deliveries: Count = option(
        200,
        "How many deliveries are under way at once, over all sites.",
        unit="count",
        source="Postfix, 100 processes; ours cost less",
    )
    site_connections_initial: Count = option(
        5,
        "How many connections to a site are open at first.",
        unit="count",
        source="Postfix initial_destination_concurrency",
    )
    site_connections: Count = option(
        20,
        "How many connections to a site there may ever be.",
        unit="count",
        source="Postfix default_destination_concurrency_limit",
    )
    cohort_failures: Count = option(
        3,
        "How many rounds of connections, each of as many as are open, must fail before a site counts as dead.",
        unit="count",
        source="between Postfix's failed cohort limit, 1, and a flaky network",
    )
    dead_initial: PositiveDuration = option(
        "60s",
        "How long a dead site is left alone at first; it doubles.",
        unit="duration",
        source="OpenSMTPD, 15 s * n²",
    )
    dead_maximum: PositiveDuration = option(
        "1h", "The longest that a dead site is left alone.", unit="duration", source="OpenSMTPD, 1 hour"
    )
    events_keep: Duration = option(
        "7d", "How long the events of a finished message can be traced.", unit="duration", source="a week of questions"
    )
    message_cache: Size = option(
        "64MiB",
        "How much content of small messages is kept in memory for their first attempt.",
        unit="size",
        source="20,000 active messages of 3 KiB",
    )


class Timeouts(Table):
    """How long a delivery waits for each step of the dialogue with a peer."""

    connect: PositiveDuration = option(
        "30s", "The TCP connection.", unit="duration", source="Postfix smtp_connect_timeout"
    )
    greeting: PositiveDuration = option("300s", "The greeting.", unit="duration", source="RFC 5321 4.5.3.2.1")
    hello: PositiveDuration = option(
        "300s", "The reply to EHLO or HELO.", unit="duration", source="Postfix smtp_helo_timeout"
    )
    starttls: PositiveDuration = option(
        "120s",
        "The reply to STARTTLS, and then the TLS handshake.",
        unit="duration",
        source="RFC 5321 4.5.3.2.4, as DATA: an answer that takes the server no work",
    )
    mail: PositiveDuration = option("300s", "The reply to MAIL.", unit="duration", source="RFC 5321 4.5.3.2.2")
    rcpt: PositiveDuration = option("300s", "The reply to RCPT.", unit="duration", source="RFC 5321 4.5.3.2.3")
    data: PositiveDuration = option("120s", "The reply to DATA.", unit="duration", source="RFC 5321 4.5.3.2.4")
    block: PositiveDuration = option(
        "180s", "Room for the next block of content.", unit="duration", source="RFC 5321 4.5.3.2.5"
    )
    final_dot: PositiveDuration = option(
        "600s",
        "The reply to the final dot; giving up early here makes duplicates.",
        unit="duration",
        source="RFC 5321 4.5.3.2.6",
    )
    rset: PositiveDuration = option("20s", "The reply to RSET.", unit="duration", source="Postfix smtp_rset_timeout")
    quit: PositiveDuration = option("5s", "The end of the connection after QUIT.", unit="duration", source="KumoMTA")
    idle: PositiveDuration = option(
        "5s", "How long an unused connection is kept for the next message.", unit="duration", source="KumoMTA"
    )
    lifetime: PositiveDuration = option(
        "300s",
        "How long one connection is used for new messages.",
        unit="duration",
        source="Postfix smtp_connection_reuse_time_limit",
    )


class ClientTls(Table):
    """How much TLS other hosts must offer before mail goes to them (docs/tls.md)."""

    default: Tls = option(
        "may",
        'The level for MX hosts and smtp:// where no route and no domain has another: "none", "may" (where it is'
        ' offered, with any certificate), "encrypt" (never in clear), "verify" (with a certificate for the name of the'
        ' host), "dane".',
        unit='"none", "may", "encrypt", "verify", "dane"',
        source="RFC 7435: some protection most of the time",
    )
    domains: DomainLevels = option(
        {},
        'The levels of recipient domains: "example.org", or ".example.org" for all below it.',
        unit="table of levels",
        source="what was agreed with partners",
    )
    heed_tls_required: bool = option(
        True,
        "Whether a message with the field TLS-Required: No goes without what recipient domains demand with DANE and"
        " MTA-STS; what this configuration demands holds for it all the same.",
        unit="true, false",
        source="RFC 8689 4.2.2",
    )
    ca_file: OptionalFile = option(
        "",
        'A PEM file with the authorities that "verify" trusts; empty for those of the system. Relative to the directory'
        " that the daemon is started in.",
        unit="path",
        source="the system's administrator keeps them current",
    )


class Client(Table):
    """How mail goes out to other hosts."""

    hello: OptionalHostName = option(
        "", "The name to say in EHLO; empty means hostname.", unit="domain", source="Postfix smtp_helo_name"
    )
    source_address: OptionalIP = option(
        "",
        "The IP address to send from; empty leaves it to the system.",
        unit="IP address",
        source="Postfix smtp_bind_address",
    )
    recipients_per_transaction: Count = option(
        50,
        "How many recipients of a message are sent at once.",
        unit="count",
        source="Postfix smtp_destination_recipient_limit",
    )
    messages_per_connection: Count = option(
        100, "How many messages are sent over one connection.", unit="count", source="OpenSMTPD, KumoMTA"
    )
    bdat: bool = option(
        False,
        "Whether content is sent with BDAT to hosts that offer it; mail with BODY=BINARYMIME is in any case.",
        unit="true, false",
        source="DATA is what every host has seen most of",
    )
    eight_bit: Literal["send", "bounce", "convert"] = option(
        "send",
        'What is done with 8-bit content for a host without 8BITMIME: "send" it as it is, "bounce" it, or "convert" it'
        " to quoted-printable, which breaks signatures. Binary content for a host without BINARYMIME is converted then"
        " too, to base64; else it bounces.",
        unit='"send", "bounce", "convert"',
        source="Exim accept_8bitmime; hosts that mangle 8-bit content have died out",
    )
    ip_preference: Literal["any", "ipv4", "ipv6"] = option(
        "any",
        "Which addresses of a host are tried first; the others are tried before a deferral all the same.",
        unit='"any", "ipv4", "ipv6"',
        source="Postfix smtp_address_preference",
    )
    next_hop_failures: Count = option(
        3,
        "How many connections in a row to one of several next hops of a route must fail before it rests: for"
        " queue.dead_initial at first, and twice as long after each probe that fails, up to queue.dead_maximum. What"
        " rests is tried after the others.",
        unit="count",
        source="nginx max_fails is 1, HAProxy fall 3",
    )
    in_doubt: Literal["retry", "hold"] = option(
        "retry",
        'What is done with a message that was sent to its end and never answered: "retry" it by the usual schedule,'
        ' which may deliver it twice, or "hold" it for an operator, who may ask the other side.',
        unit='"retry", "hold"',
        source="RFC 1047: a sender can't know, and sends again",
    )
    tls: ClientTls = option({})
    tokens: tuple[TokenTable, ...] = option(())
    timeouts: Timeouts = option({})


class Bounce(Table):
    """How undeliverable mail goes back."""

    full_below: Size = option(
        50_000,
        "Up to which size a message goes back whole; of a larger one only the headers do.",
        unit="size",
        source="Postfix bounce_size_limit",
    )
    postmaster: OptionalMailbox = option(
        "", "Whom bounces come from; empty means postmaster at hostname.", unit="mailbox", source="RFC 5321 4.5.1"
    )
    languages: Languages = option(
        ("en",),
        'The languages of the text for people, one below the other; "en" and "de" are shipped.',
        unit="list of languages",
        source="what most senders read",
    )
    templates: OptionalPath = option(
        "",
        "A directory with your own texts, laid out as the shipped ones: LANGUAGE/KIND.txt; what is missing there is"
        " taken from those. Relative to the directory that the daemon is started in; empty for the shipped ones only.",
        unit="path",
        source="Postfix bounce_template_file",
    )
    double_bounce: OptionalMailbox = option(
        "",
        "Who gets the bounces that can't be delivered; empty means they are recorded and dropped.",
        unit="mailbox",
        source="Postfix 2bounce_notice_recipient, off by default there too",
    )
    rate_per_sender: OptionalCount = option(
        100,
        "How many reports one sender is sent in an hour, failures and all others together; 0 for any number. What goes"
        " beyond is recorded only.",
        unit="count per hour",
        source="a person reads fewer; a forged sender gets no flood",
    )
