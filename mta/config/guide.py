"""
The prose around the options: what the reference says before its tables, and the head of the sample.

Owns: the explanation of values that many options share (durations, patterns, next hops, the environment).
Never: repeats what the schema declares.
"""

from __future__ import annotations

PREAMBLE = """\
# The configuration of the mail transfer agent: a sample that runs as it is.
#
# A line that begins with "#" and a key shows the default. docs/configuration.md has the same options
# with their units and where the defaults come from. `mta check` finds mistakes in this file.
#
# Rendered from mta/config/ by `python -m mta.config.rendering`; change your own copy, not this one.
"""

GUIDE = r"""
# Configuration

One file in [TOML](https://toml.io) holds the whole configuration; [etc/mta.toml](../etc/mta.toml) is a sample that
runs. `twistd mta --config FILE` reads it; without the option, the file that `MTA_CONFIG` names, or else `etc/mta.toml`.
`mta check` says all that is wrong with it at once:

```
etc/mta.toml:31: queue.retri: unknown key; did you mean "retry"?
etc/mta.toml:44: route 2: next_hop: "smtp://10.0.0.7:252525" must have a port from 1 to 65535
```

Unknown keys, wrong types, impossible values and options that contradict each other are errors: nothing is ignored and
nothing is guessed. Paths are below `state_dir`, and `state_dir` itself is relative to the directory in which the daemon
is started.

This page is rendered from the schema in `mta/config/` by `python -m mta.config.rendering`.

## Values

**Durations** are text with units, longest first: `"90s"`, `"5m"`, `"1h30m"`, `"5d"`, `"0.5s"`. Units are w, d, h, m, s
and ms. A bare number is an error, since nobody can tell its unit.

**Sizes** are octets, as a number (`50000`) or as text: `"64KiB"`, `"50MiB"` (powers of 1024), `"10MB"` (powers of
1000).

**Networks** are IPv4 or IPv6 prefixes: `"192.0.2.0/24"`, `"2001:db8::/32"`, or a single address.

**Endpoints** are Twisted's: `"tcp:25"`, `"tcp:2525:interface=127.0.0.1"`. The colons of an IPv6 address need a
backslash each, best in single quotes: `'tcp:25:interface=\:\:1'`.

**The environment** may stand in for text: `"${NAME}"` is replaced by the variable `NAME`, or by the content of the file
that `NAME_FILE` names, without the line end after it. It is an error when neither is set, and when both are.
A value from the environment never appears in an error message.

## Users, aliases and moved users

`local.users` have mailboxes. `local.aliases` stand for others, and `local.moved` are no longer here:

```toml
[local]
domains = ["example.org", "example.net"]
users   = ["alice", "bob", "carol@example.net"]

[local.aliases]
sales = ["alice", "bob", "agency@partner.example"]   # sales@ both domains
alice = ["alice", "archive@partner.example"]         # a copy besides the own mailbox
"team@example.net" = ["sales", "carol"]              # aliases may be nested
"first.last" = ["alice"]                             # a dot needs quotes, or TOML makes a table of it

[local.moved]
dave = "dave@elsewhere.example"
```

A member without a domain is at the domain of the alias, and so must live at each domain where the alias is. An entry
for a whole address comes before one for a name, and a name before `"*"`; an alias comes before a user of the same name.
Case does not matter for those who live here. Each recipient gets one copy, however many aliases lead to it. Aliases
that lead in a circle, to nobody, or over more than 10 steps are errors. Postmaster has a mailbox at every local domain
and at `hostname`, unless an alias says otherwise, and gets the mail for abuse where nobody else does.
[addresses.md](addresses.md) has every form of an address, and the tables that may stand behind these lists.

## Patterns

A route is for the recipients that one of its patterns matches. Case does not matter.

| pattern | matches |
|---|---|
| `"*"` | everyone |
| `"*@example.org"` | everyone at example.org, and not below it |
| `"*@.example.org"` | everyone at a domain below example.org, and not at example.org |
| `"alice@example.org"` | one address |

The first route that matches wins, however exact a later one is; a route that can never match because of those before
it is an error. What no route matches goes to its Maildir where the domain is in `local.domains` (and for postmaster at
`hostname`), and else to the hosts that the MX records of its domain name. Routes are asked at each attempt: after
a restart, a change of the file reaches the mail that is waiting too.

## Next hops

| next hop | where the mail goes |
|---|---|
| `"smtp://host:port"` | to that host, without an MX lookup; port 25 where none is given; IPv6 in brackets |
| `"lmtp://host:port"` | to that host by LMTP (RFC 2033); port 24 where none is given |
| `"lmtp+unix:PATH"` | to that UNIX socket by LMTP; a relative path is below `state_dir` |
| `"mx:"` | to the MX hosts of the recipient's domain, as without a route |
| `"mx:example.org"` | to the MX hosts of example.org, whatever the recipient's domain is |
| `"maildir:PATH"` | to a Maildir below `state_dir`; `{user}` and `{domain}` are the parts of the address |
| `"mbox:PATH"` | to a mailbox in one file; a relative path is below `state_dir`, `{user}` and `{domain}` as above |
| `"pipe:NAME"` | to the standard input of the program of that name in `[[delivery.pipe]]`: [delivery.md](delivery.md) |
| `"https://host/path"` | to that web server, by POST; `http://` on this machine: [delivery.md](delivery.md) |
| `"discard:"` | nowhere; it counts as delivered |
| `"error:550 5.1.1 TEXT"` | back, with your own words: refused at RCPT (45x: for now), and what waits already fails |
"""
