"""From the text of a file to a configuration, or to all that is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import ConfigError, load, parse
from mta.config.option import Table
from mta.config.receiving import Listener
from mta.config.schema import Config, Settings
from mta.config.sending import Dns, Queue, RouteTable

HEAD = """\
hostname = "mx.example.org"
[[listener]]
name = "relay"
endpoint = "tcp:2525:interface=127.0.0.1"
role = "mx"
"""

ROUTE = "[[route]]\nrecipients = ['*']\nnext_hop = 'smtp://x.test'\n"
TOKENS = "[[client.tokens]]\nname = 't'\nurl = 'https://id.test/token'\nclient_id = 'c'\nclient_secret = 's'\n"

# What stands below HEAD (its first line is line 6), and all that is said of it.
BAD: dict[str, list[str]] = {
    # keys
    "[queue]\nretri = []": ['7: queue.retri: unknown key; did you mean "retry"?'],
    "[queues]": ['6: queues: unknown key; did you mean "queue"?'],
    "[zzz]\na = 1": ["6: zzz: unknown key"],
    "[relay]\nhostname = 'x.test'": [
        "7: relay.hostname: unknown key; it must stand at the top of the file, before the first [table]"
    ],
    "[relay]\nnegative_ttl = '1h'": ["7: relay.negative_ttl: unknown key; it belongs to [dns]"],
    "[client.timeout]\nconnect = '1s'": ['6: client.timeout: unknown key; did you mean "timeouts"?'],
    "[client]\ntimeouts.conect = '1s'": ['7: client.timeouts.conect: unknown key; did you mean "connect"?'],
    "[[route]]\nrecipient = ['*']": [
        "6: route 1: next_hop: is required",
        "6: route 1: recipients: is required",
        '7: route 1: recipient: unknown key; did you mean "recipients"?',
    ],
    "[source]": ["6: source: unknown key"],
    # shapes
    "[route]\nnext_hop = 'mx:'": ["6: route: must be written in double brackets: [[route]]"],
    "[[dns]]": ["6: dns: must be a table, written in single brackets: [dns]"],
    "[client]\ntimeouts = 5": ["7: client.timeouts: must be a table, not 5"],
    "[relay]\nnetworks = '10.0.0.0/8'": ['7: relay.networks: must be a list in brackets, not "10.0.0.0/8"'],
    "[relay]\nnetworks = [\n 8,\n true,\n]": [
        "8: relay.networks: must be text in quotes, not 8",
        "9: relay.networks: must be text in quotes, not true",
    ],
    "[local]\nmaildir = 1979-05-27": ["7: local.maildir: must be text in quotes, not a date"],
    "[limits]\nhops = '50'": ['7: limits.hops: must be a whole number, not "50"'],
    "[limits]\nhops = 50.0": ["7: limits.hops: must be a whole number, not 50"],
    "[limits]\nhops = true": ["7: limits.hops: must be a whole number, not true"],
    "[queue]\njitter = '10%'": ['7: queue.jitter: must be a number, not "10%"'],
    "[limits]\nhops = []": ["7: limits.hops: must be a whole number, not a list"],
    "[limits]\nhops = {}": ["7: limits.hops: must be a whole number, not a table"],
    # values
    "[limits]\nhops = 0": ["7: limits.hops: must be at least 1, not 0"],
    "[limits]\ncommand_line = 100": ["7: limits.command_line: must be at least 512, not 100"],
    "[limits]\nconnections = 1000000001": ["7: limits.connections: must be at most 1000000000, not 1000000001"],
    "[dns]\nattempts = 11": ["7: dns.attempts: must be at most 10, not 11"],
    "[queue]\njitter = 1.0": ["7: queue.jitter: must be less than 1, not 1"],
    "[queue]\njitter = nan": ["7: queue.jitter: must be less than 1, not nan"],
    "[queue]\nretry = []": ["7: queue.retry: must not be empty"],
    "[queue]\nretry = ['5m', '0s']": ["7: queue.retry: must be longer than 0s"],
    "[queue]\nlifetime = 5": [
        '7: queue.lifetime: must be a duration in quotes with its unit, such as "30s" or "5m", not 5'
    ],
    "[queue]\nlifetime = '5 days'": [
        '7: queue.lifetime: "5 days" is not a duration; write it as "90s", "5m", "1h30m" or "5d"'
    ],
    "[limits]\nmessage_size = '50 apples'": [
        '7: limits.message_size: "50 apples" is not a size; write it as 50000, "64KiB", "50MiB" or "10MB"'
    ],
    "[content]\nbare_newlines = 'normalise'": [
        '7: content.bare_newlines: must be "reject" or "normalize", not "normalise"; did you mean "normalize"?'
    ],
    "[client]\nbdat = 'yes'\neight_bit = 'convrt'": [
        '7: client.bdat: must be true or false, not "yes"',
        '8: client.eight_bit: must be "send", "bounce" or "convert", not "convrt"; did you mean "convert"?',
    ],
    "[local]\nmoved_reply = 251": ['7: local.moved_reply: must be "251" or "551", not 251'],
    "[bounce]\nlanguages = ['../en']\ntemplates = \"\\u0000\"": [
        '7: bounce.languages: "../en" is not a language, such as "en" or "pt-BR"',
        "8: bounce.templates: must be the path of a directory",
    ],
    "[log]\nformat = 1": ['7: log.format: must be "text" or "json", not 1'],
    "[relay]\nnetworks = ['10.0.0.1/8']": [
        '7: relay.networks: "10.0.0.1/8" has bits behind its prefix; did you mean "10.0.0.0/8"?'
    ],
    "[relay]\nnetworks = ['ten']": [
        '7: relay.networks: "ten" is not a network; write it as "192.0.2.0/24" or "2001:db8::/32"'
    ],
    "[relay]\ndomains = ['*.x.test']": ['7: relay.domains: "*.x.test": for all domains below one write ".x.test"'],
    "[local]\ndomains = ['x test', 'x.test.']": [
        '7: local.domains: "x test": domain is not a valid name',
        '7: local.domains: "x.test.": domain is not a valid name',
    ],
    "[local]\nusers = ['al*', 'a b', '']": [
        '7: local.users: "al*": a star stands alone and means anyone',
        '7: local.users: "a b": local part is malformed',
        '7: local.users: "": local part is malformed',
    ],
    "[local]\nmaildir = '/var/mail/{user}'": [
        '7: local.maildir: "/var/mail/{user}" must be a path below state_dir, without a leading "/" and without ".."'
    ],
    "[local]\nmaildir = '{home}/Maildir'": [
        '7: local.maildir: "{home}/Maildir" has a placeholder other than {user} and {domain}'
    ],
    "[dns]\nservers = ['dns.test', '192.0.2.1:0', '[::1', '[::1]53', '[192.0.2.1]:53', '192.0.2.1:', '']": [
        f'7: dns.servers: "{server}" is not IP, IP:PORT or [IPv6]:PORT'
        for server in ("dns.test", "192.0.2.1:0", "[::1", "[::1]53", "[192.0.2.1]:53", "192.0.2.1:", "")
    ],
    "[client]\nhello = '192.0.2.1'": [
        '7: client.hello: "192.0.2.1" is an address; write the name that others find in the DNS'
    ],
    "[client]\nsource_address = 'eth0'": ['7: client.source_address: "eth0" is not an IP address'],
    "[bounce]\npostmaster = 'postmaster'": ['7: bounce.postmaster: "postmaster": domain is missing'],
    "[control]\nmode = 600": ["7: control.mode: must be text in quotes, not 600"],
    "[control]\nmode = '0688'": ['7: control.mode: "0688" is not the mode of a file, such as "0600" or "0660"'],
    "[control]\nsocket = '../control'": [
        '7: control.socket: "../control" must be a path below state_dir, without a leading "/" and without ".."'
    ],
    "[[route]]\nrecipients = ['x.test']\nnext_hop = 'stmp://x.test'": [
        '7: route 1: recipients: "x.test" is not a pattern; for all of a domain write "*@x.test"',
        '8: route 1: next_hop: "stmp://x.test" is not a next hop; write smtp://HOST:PORT, smtps://HOST:PORT,'
        " lmtp://HOST:PORT, lmtp+unix:PATH, mx:, mx:DOMAIN, maildir:PATH, discard:, mbox:PATH, pipe:NAME,"
        ' https://URL or error:CODE TEXT; did you mean "smtp:"?',
    ],
    "[[route]]\nrecipients = ['*@x test', 5]\nnext_hop = 'mx:'": [
        '7: route 1: recipients: "*@x test" is not a pattern: domain is not a valid name',
        "7: route 1: recipients: must be text in quotes, not 5",
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'mx:'\ntls = 'must'": [
        "9: route 1: tls: must be one of none, may, encrypt, verify, dane, not 'must'"
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'smtps://x.test'\ntls = 'may'": [
        '9: route 1: tls: "may" contradicts smtps://, which is TLS from the first octet'
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'lmtp+unix:x'\ntls = 'may'": [
        '9: route 1: tls: has no meaning for "lmtp+unix:x": nothing goes over a network'
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'mx:'\nuser = 'u'\npassword = 'p'": [
        '9: route 1: user: has no meaning for "mx:": AUTH is for smtp:// and smtps://'
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'smtp://x.test'\nuser = 'u'": [
        "6: route 1: password: is empty, and user is not; AUTH takes both"
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'smtp://x.test'\nuser = 'u'\npassword = 'p'\ntls = 'may'": [
        '11: route 1: tls: "may" could send the password in clear; write "verify" or "encrypt", or "none" to do so'
        " always"
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'mx:'\nmechanisms = ['scram-sha-256']": [
        '9: route 1: mechanisms: "scram-sha-256" is no mechanism of ours; SCRAM-SHA-256-PLUS, SCRAM-SHA-256,'
        ' OAUTHBEARER, XOAUTH2, PLAIN, LOGIN are; did you mean "SCRAM-SHA-256"?'
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = ['smtp://a.test', 'mx:']": [
        '8: route 1: next_hop: "mx:" has no place beside others; smtp://, smtps:// and lmtp:// have'
    ],
    ROUTE + "user = 'u'\ntoken = 't'\npassword = 'p'": [
        "10: route 1: token: there is a password, too; it is one or the other"
    ],
    ROUTE + "token = 't'": ["6: route 1: user: is empty, and token is not; AUTH takes both"],
    ROUTE + "user = 'u'\ntoken = 't'": ['10: route 1: token: "t" is no name of client.tokens: there is none'],
    ROUTE + "user = 'u'\ntoken = 't'\nmechanisms = ['PLAIN']\n" + TOKENS: [
        "11: route 1: mechanisms: has none for a token: OAUTHBEARER, XOAUTH2"
    ],
    ROUTE + "user = 'u'\npassword = 't'\nmechanisms = ['XOAUTH2']": [
        "11: route 1: mechanisms: has none for a password: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN"
    ],
    TOKENS.replace("https", "http"): [
        '8: client.tokens 1: url: "http://id.test/token" is not a URL such as "https://id.example.org/path"; tokens'
        " travel over HTTPS alone"
    ],
    TOKENS.replace("client_secret = 's'", "refresh_token = 'r'"): [
        "6: client.tokens 1: client_secret: is missing: client_credentials are just that (RFC 6749 4.4)",
        '10: client.tokens 1: refresh_token: has no meaning for grant = "client_credentials"',
    ],
    TOKENS + "grant = 'refresh_token'": [
        '6: client.tokens 1: refresh_token: is missing: grant = "refresh_token" begins with one'
    ],
    TOKENS + TOKENS: ['12: client.tokens 2: name: "t" is there twice'],
    "[client.tls]\ndomains = { '*' = 'may' }": [
        '7: client.tls.domains: "*": the level for all other domains is client.tls.default'
    ],
    "[client.tls.domains]\n'x.test' = 'verify'\n'X.test' = 'may'": ['6: client.tls.domains: "X.test" is there twice'],
    "[client.tls.domains]\n'x.test' = 'maybe'": [
        "7: client.tls.domains.x.test: must be one of none, may, encrypt, verify, dane, not 'maybe'"
    ],
    "[[route]]\nrecipients = []\nnext_hop = 'https:x'": [
        "7: route 1: recipients: must not be empty",
        '8: route 1: next_hop: "https:x" must be a URL with a host, such as https://hooks.example.org/mail',
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'pipe:x'\n[[delivery.pipe]]\nname = 'y'\ncommand = ['cat', '{home}']": [
        '8: route 1: next_hop: there is no [[delivery.pipe]] with the name "x"',
        '11: delivery.pipe 1: command: "cat" must be the absolute path of a program',
    ],
    "[[route]]\nrecipients = ['*']\nnext_hop = 'http://hook.test/x'\n[[delivery.http]]\nurl = 'http://hook.test/y'\n"
    "clear_text = true\n[[delivery.http]]\nurl = 'mx:'": [
        '8: route 1: next_hop: "http://hook.test/x" is not encrypted: write https://, or clear_text = true in a'
        " [[delivery.http]] with this URL",
        '13: delivery.http 2: url: "mx:" must be https:// or http://',
    ],
    "[[delivery.http]]\nurl = 'https://hook.test/'\nsecrets = ['whsec_short']": [
        '8: delivery.http 1: secrets: must be "whsec_" and 24 to 64 random octets in base64, as from'
        " `openssl rand -base64 32`"
    ],
    "[[listener]]\nname = 'a b'\nendpoint = '25'\nrole = 'sumbission'": [
        '7: listener 2: name: "a b" is not a name; use up to 64 letters, digits, ".", "_" and "-"',
        '8: listener 2: endpoint: "25" is not an endpoint; write it as "tcp:25" or "tcp:2525:interface=127.0.0.1"',
        '9: listener 2: role: "sumbission" is not a role; mx, relay, submission, lmtp, closed are;'
        ' did you mean "submission"?',
    ],
    "[[listener]]\nname = 'b'\nendpoint = 'tcp:smtp'\nrole = 'realy'": [
        '8: listener 2: endpoint: "tcp:smtp" has no port from 0 to 65535 behind "tcp:"',
        '9: listener 2: role: "realy" is not a role; mx, relay, submission, lmtp, closed are; did you mean "relay"?',
    ],
    "[[listener]]\nname = 'b'\nendpoint = 'tcp:25:interface=::1'\nrole = 'relay'": [
        '8: listener 2: endpoint: "tcp:25:interface=::1": "" is not NAME=VALUE; the colons of an IPv6 address need a'
        r" backslash each: 'tcp:25:interface=\:\:1', in single quotes"
    ],
    "[[listener]]\nname = 'b'\nendpoint = 'tcp:25:interfce=127.0.0.1'\nrole = 'relay'": [
        '8: listener 2: endpoint: "tcp:25:interfce=127.0.0.1": unknown option "interfce"; did you mean "interface"?'
    ],
    "[[listener]]\nname = 'b'\nendpoint = 'haproxy:tcp:25'\nrole = 'relay'": [
        '8: listener 2: endpoint: "haproxy:tcp:25": write "tcp:25", and list the networks of the proxies under proxies'
    ],
    "[[listener]]\nname = 'b'\nendpoint = 'tcp:25:backlog=many'\nrole = 'relay'": [
        '8: listener 2: endpoint: "tcp:25:backlog=many": "many" is not a number'
    ],
    '[local]\ndomains = ["a\\nb\\u001b"]\n"c\\nd" = 1': [
        r'7: local.domains: "a\nb\x1b": domain is not a valid name',
        r"8: local.c\nd: unknown key",
    ],
    # options against one another
    "[[listener]]\nname = 'relay'\nendpoint = 'tcp:2525:interface=127.0.0.1'\nrole = 'mx'": [
        '7: listener 2: name: "relay" is that of listener 1 already',
        '8: listener 2: endpoint: "tcp:2525:interface=127.0.0.1" is that of listener 1 already',
    ],
    "[local]\ndomains = ['x.test']\n[relay]\ndomains = [\n'y.test',\n'X.test']": [
        '11: relay.domains: "x.test" is in local.domains too; a domain is one or the other'
    ],
    "[local]\ndomains = ['x.test']\nusers = ['a@x.test',\n'a@y.test']": [
        '9: local.users: "a@y.test" is at a domain that is not in local.domains'
    ],
    "[relay]\nnetworks = ['10.0.0.0/8']\nrefused = ['10.0.0.0/8']": [
        '8: relay.refused: "10.0.0.0/8" is in relay.networks too; it is one or the other'
    ],
    "[relay]\netrn_domains = ['x.test']\n[local]\ndomains = ['x.test']": [
        '7: relay.etrn_domains: "x.test" is in local.domains: its mail never waits for a client'
    ],
    "[bounce]\nlanguages = ['de', 'en', 'de', 'fr']": [
        '7: bounce.languages: "de" is there twice',
        '7: bounce.languages: "fr" is not shipped; en and de are, others need bounce.templates',
    ],
    "[local]\nusers = ['a', 'b']\nmaildir = 'mail/{domain}'": [
        "8: local.maildir: has no {user}: the mail of all users would go into one Maildir"
    ],
    "[local]\nusers = ['*']\nmaildir = 'mail'": [
        "8: local.maildir: has no {user}: the mail of all users would go into one Maildir"
    ],
    "[queue]\nretry = ['1h']\nbounce_lifetime = '1h'\nlifetime = '30m'": [
        "8: queue.bounce_lifetime: must be longer than the first wait of queue.retry, or nothing is ever tried again",
        "9: queue.lifetime: must be longer than the first wait of queue.retry, or nothing is ever tried again",
    ],
    "[queue]\ndead_initial = '2h'": ["7: queue.dead_initial: must not be longer than queue.dead_maximum"],
    "[queue]\nsite_connections = 4": [
        "6: queue.site_connections_initial: must not be more than queue.site_connections"
    ],
    "[log]\nfile = './spool.sqlite-wal'\n[control]\nsocket = 'lock'": [
        '7: log.file: "spool.sqlite-wal" is a file of the queue; choose another name',
        '9: control.socket: "lock" is a file of the queue; choose another name',
    ],
    "[log]\nfile = 'control'": ['7: log.file: "control" is control.socket already'],
    "[limits]\nerrors_hard = 9": ["7: limits.errors_hard: must not be less than limits.errors_soft"],
    "[[route]]\nrecipients = ['*@.x.test']\nnext_hop = 'mx:'\n[[route]]\nrecipients = ['a@x.test', 'a@y.x.test']\n"
    "next_hop = 'discard:'": [
        '10: route 2: recipients: "a@y.x.test" never matches: route 1 comes first and has all of it'
    ],
    "[tls.reports]\ncontact = 'ä@x.test'\nsender = 'a@[192.0.2.1]'": [
        '7: tls.reports.contact: "ä@x.test" must be in ASCII, at a domain of the DNS',
        '8: tls.reports.sender: "a@[192.0.2.1]" must be in ASCII, at a domain of the DNS',
    ],
    # everything at once, also what depends on options that are right
    "[limits]\nerrors_hard = 9\nhops = 0\n[queue]\nlifetime = 1\n[zzz]": [
        "7: limits.errors_hard: must not be less than limits.errors_soft",
        "8: limits.hops: must be at least 1, not 0",
        '10: queue.lifetime: must be a duration in quotes with its unit, such as "30s" or "5m", not 1',
        "11: zzz: unknown key",
    ],
    # nothing follows from a value that is wrong already
    "[queue]\ndead_initial = '1d'\ndead_maximum = 'long'": [
        '8: queue.dead_maximum: "long" is not a duration; write it as "90s", "5m", "1h30m" or "5d"'
    ],
    # the environment
    "[client]\nhello = '${NOT_SET}'": ["7: client.hello: NOT_SET is not set in the environment, nor is NOT_SET_FILE"],
}

WHOLE_FILES: dict[str, list[str]] = {
    "": ["f:1: hostname: is required", "f:1: listener: there is none; without a [[listener]] no mail comes in"],
    "workers = 128\nhostname = 'x.test'\nlistener = [{name = 'a', endpoint = 'tcp:0', role = 'mx'}]": [
        "f:1: workers: must be a number from 0 to 127; 0 is one for each core"
    ],
    "hostname = 'x.test'\n\n\na = \n": ["f:4: invalid value"],
    "hostname = 'x.test": ['f:1: expected "\'" at the end of the file'],
    "a = 1\na = 2\n": ["f:2: cannot overwrite a value"],
    "\n'\x1d\u2028\x85": ['f:2: expected "\'" at the end of the file'],  # none of these is a line end in TOML
    "x": ["f:1: expected '=' after a key in a key/value pair at the end of the file"],
    "a = " + "[" * 100_000: ["f: lists or tables are nested too deeply"],
    "a = " + "1" * 5000: None,  # type: ignore[dict-item]  # the words are Python's
}


def problems_of(text: str, environ: dict[str, str] | None = None) -> list[str]:
    try:
        parse(text, "f", environ or {})
    except ConfigError as error:
        return list(error.problems)
    return []


class ProblemTests(SynchronousTestCase):
    maxDiff = None

    def test_all_problems(self) -> None:
        """Each mistake is told with file, line, key and what to do, and all of a file's mistakes at once."""
        expected = {text: [f"f:{line}" for line in lines] for text, lines in BAD.items()}
        self.assertEqual(expected, {text: problems_of(HEAD + text) for text in BAD})

    def test_whole_files(self) -> None:
        """What is missing, and what is no TOML, is told with its line too."""
        for text, expected in WHOLE_FILES.items():
            found = problems_of(text)
            self.assertEqual(expected or found[:1], found, text[:80])
            self.assertTrue(found)

    def test_the_exception_shows_all(self) -> None:
        """The text of the exception is one problem a line."""
        with self.assertRaises(ConfigError) as caught:
            parse("", "etc/mta.toml", {})
        self.assertEqual("\n".join(caught.exception.problems), str(caught.exception))
        self.assertEqual(2, len(caught.exception.problems))


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def problem(self) -> str:
        with self.assertRaises(ConfigError) as caught:
            load(self.path, {})
        return str(caught.exception)

    def test_a_file_is_read(self) -> None:
        """The configuration of a file knows its file and the line of each route."""
        self.path.write_text(HEAD + "\n[[route]]\nrecipients = ['*']\nnext_hop = 'mx:'\n", "utf-8")
        config = load(self.path, {})
        self.assertEqual((str(self.path), (7,)), (config.source, config.route_lines))
        self.assertEqual([f"route 1 ({self.path}:7)"], [rule.route.rule for rule in config.rules()])

    def test_line_ends_and_byte_order_mark(self) -> None:
        """A file from another system, with CRLF and a byte order mark, reads the same and keeps its lines."""
        text = HEAD + "[[route]]\nrecipients = ['*']\nnext_hop = 'mx:'\n"
        self.path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        self.assertEqual(parse(text, str(self.path), {}), load(self.path, {}))

    def test_no_file(self) -> None:
        """A file that is not there is named."""
        self.assertEqual(f"{self.path}: cannot read the configuration: No such file or directory", self.problem())

    def test_a_directory(self) -> None:
        """A directory in place of the file is named."""
        self.path.mkdir()
        self.assertEqual(f"{self.path}: cannot read the configuration: Is a directory", self.problem())

    def test_not_utf8(self) -> None:
        """Bytes that are not UTF-8 are told with their line."""
        self.path.write_bytes(b"a = 1\nb = '\xff'\n")
        self.assertEqual(f"{self.path}:2: is not UTF-8 text", self.problem())


TABLES: tuple[type[Table], ...] = (Settings, Listener, RouteTable, Queue, Dns)
KEYS = [field.alias or name for table in TABLES for name, field in table.model_fields.items()]


class AnyTextTests(SynchronousTestCase):
    scalars = (
        st.booleans()
        | st.integers()
        | st.floats()
        | st.sampled_from(["", "*", "mx:", "5m", "x.test", "${X}", "${", "tcp:25", "\0", "a@b", "é"])
        | st.text(max_size=8)
    )
    values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
    keys = st.sampled_from(KEYS)
    tables = st.dictionaries(keys, values | st.dictionaries(keys, values, max_size=4), max_size=5)

    @settings(deadline=None, max_examples=300, derandomize=True)
    @given(tables, st.booleans())
    def test_any_data(self, data: dict[str, Any], headed: bool) -> None:
        """Any values under any keys give a configuration or a list of problems, each with its line."""
        text = (HEAD if headed else "") + "".join(_written(key, value) for key, value in data.items())
        for problem in problems_of(text, {"X": "value"}):
            self.assertRegex(problem, r"\Af:[0-9]+: ")
            self.assertTrue(problem.isprintable(), problem)

    @settings(deadline=None, max_examples=200, derandomize=True)
    @given(st.text() | st.text(alphabet="[]{}=.,'\"\\# \na1"))
    def test_any_text(self, text: str) -> None:
        """Any text is a configuration or has problems, nothing else."""
        self.assertTrue(problems_of(text))


def _written(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"[{key}]\n" + "".join(_written(*item) for item in value.items())
    return f"{key} = {_literal(value)}\n"


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(item):08x}" if not 0xD800 <= ord(item) < 0xE000 else "?" for item in value) + '"'
    return str(value).lower()


class ValueTests(SynchronousTestCase):
    def test_equal_files_are_equal_values(self) -> None:
        """A configuration is a value: equal, hashable and not to be changed."""
        one, other = parse(HEAD, "f", {}), parse(HEAD, "f", {})
        self.assertEqual(one, other)
        self.assertEqual(1, len({one, other}))
        self.assertNotEqual(one, parse(HEAD.replace("2525", "2526"), "f", {}))
        self.assertNotEqual(one, parse(HEAD, "g", {}))
        with self.assertRaises(ValueError):
            one.workers = 2

    def test_values_are_parsed(self) -> None:
        """What the program reads is seconds, octets, addresses and paths, not text."""
        config: Config = parse(
            HEAD + "[local]\ndomains = ['Example.ORG']\nusers = ['Alice', '\"A b\"@example.org']\n"
            "[dns]\nservers = ['192.0.2.1', '192.0.2.2:54', '::1', '[::1]:55']\nnegative_ttl = '0s'\n"
            "[relay]\nnetworks = ['192.0.2.1', '2001:DB8::/32']\ndomains = ['X.test', '.x.test', '*']\n"
            "[queue]\nretry = ['90s', '0.5s']\njitter = 0\n[limits]\nmessage_size = '1MiB'\n"
            "[control]\nmode = '0660'\nsocket = 'run/control'\n[log]\nfile = 'log/mail'\n"
            "[bounce]\npostmaster = 'mail@example.org'\n[client]\nhello = 'Out.example.org'\n",
            "f",
            {},
        )
        self.assertEqual(("example.org",), config.local.domains)
        self.assertEqual(("alice", "a b@example.org"), config.local.users)
        self.assertEqual(
            (("192.0.2.1", 53), ("192.0.2.2", 54), ("::1", 53), ("::1", 55)),
            config.dns.servers,
        )
        self.assertEqual(("192.0.2.1/32", "2001:db8::/32"), config.relay.networks)
        self.assertEqual(("x.test", ".x.test", "*"), config.relay.domains)
        self.assertEqual(((90.0, 0.5), 0), (config.queue.retry, config.queue.jitter))
        self.assertEqual(
            (0.0, 1 << 20, 0o660), (config.dns.negative_ttl, config.limits.message_size, config.control.mode)
        )
        self.assertEqual((Path("var/run/control"), Path("var/log/mail")), (config.control_path, config.log_path))
        self.assertEqual(("mail@example.org", "out.example.org"), (str(config.postmaster), config.hello))

    def test_users_at_an_address_literal(self) -> None:
        """Domains and the domains of users are brought to one spelling before they are compared."""
        text = "[local]\ndomains = ['[ipv6:2001:DB8::1]', 'X.test']\nusers = ['Bob@[IPv6:2001:db8:0::1]', 'A@x.TEST']"
        local = parse(HEAD + text, "f", {}).local
        self.assertEqual(("[IPv6:2001:db8::1]", "x.test"), local.domains)
        self.assertEqual(("bob@[IPv6:2001:db8::1]", "a@x.test"), local.users)

    def test_defaults_follow_the_hostname(self) -> None:
        """Who gives no name of its own is called by the name of the host."""
        config = parse(HEAD, "f", {})
        self.assertEqual(("postmaster@mx.example.org", "mx.example.org"), (str(config.postmaster), config.hello))
        self.assertIsNone(config.log_path)
        self.assertEqual(Path("var/control"), config.control_path)
