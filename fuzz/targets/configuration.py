"""
Any text as configuration: a `Config`, or a `ConfigError` whose problems are lines that name the file; in bounded time.
"""

from __future__ import annotations

import re

from fuzz.input import text
from mta.config.loading import ConfigError, parse

_PROBLEM = re.compile(r"fuzz\.toml(:\d+)?: .+")
ENVIRONMENT = {"SECRET": "ssssecret", "BOTH": "x", "BOTH_FILE": "/nonexistent", "FILE_FILE": "/nonexistent", "NL": "\n"}

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"\n[[listener]]\n",
    b"\n[[route]]\n",
    b"\n[bounce]\n",
    b"\n[client.timeouts]\n",
    b"\n[client]\n",
    b"\n[content]\n",
    b"\n[control]\n",
    b"\n[dns]\n",
    b"\n[limits]\n",
    b"\n[local]\n",
    b"\n[log]\n",
    b"\n[queue]\n",
    b"\n[relay]\n",
    b"active_messages = ",
    b"active_recipients = ",
    b"aliases = ",
    b"attempts = ",
    b"bare_newlines = ",
    b"bdat = ",
    b"block = ",
    b"bounce_lifetime = ",
    b"cache_size = ",
    b"cohort_failures = ",
    b"command_line = ",
    b"connect = ",
    b"connection_rate = ",
    b"connections = ",
    b"connections_per_client = ",
    b"data = ",
    b"dead_initial = ",
    b"dead_maximum = ",
    b"delay_notice = ",
    b"deliveries = ",
    b"domains = ",
    b"double_bounce = ",
    b"eight_bit = ",
    b"endpoint = ",
    b"error_delay = ",
    b"errors_hard = ",
    b"errors_soft = ",
    b"etrn_domains = ",
    b"events_keep = ",
    b"file = ",
    b"final_dot = ",
    b"format = ",
    b"free_space_percent = ",
    b"full_below = ",
    b"greet_wait = ",
    b"greeting = ",
    b"header_size = ",
    b"hello = ",
    b"hops = ",
    b"hostname = ",
    b"idle = ",
    b"idle_timeout = ",
    b"ip_preference = ",
    b"jitter = ",
    b"junk_commands = ",
    b"languages = ",
    b"lifetime = ",
    b"mail = ",
    b"maildir = ",
    b"message_cache = ",
    b"message_rate = ",
    b"message_size = ",
    b"messages_per_connection = ",
    b"messages_per_session = ",
    b"mime_depth = ",
    b"mode = ",
    b"moved = ",
    b"moved_reply = ",
    b"name = ",
    b"negative_ttl = ",
    b"networks = ",
    b"next_hop = ",
    b"normalize_networks = ",
    b"postmaster = ",
    b"quit = ",
    b"rate_per_sender = ",
    b"rcpt = ",
    b"recipient_rate = ",
    b"recipients = ",
    b"recipients_per_transaction = ",
    b"refused = ",
    b"retry = ",
    b"role = ",
    b"rset = ",
    b"servers = ",
    b"shutdown_grace = ",
    b"site_connections = ",
    b"site_connections_initial = ",
    b"socket = ",
    b"source_address = ",
    b"state_dir = ",
    b"templates = ",
    b"text_line = ",
    b"timeout = ",
    b"users = ",
    b"workers = ",
    b"${SECRET}",
    b"${BOTH}",
    b"${FILE}",
    b"${NL}",
    b'"""',
    b"'''",
    b'["',
    b'"]\n',
    b"{ ",
    b" }\n",
    b'"5m"\n',
    b'"50MiB"\n',
    b"1979-05-27T07:32:00Z",
    b"0x1f",
    b"nan",
    b"true\n",
    b"\\u00e9",
    b"a.",
    b"[[",
    b"]]\n",
)


def target(data: bytes) -> None:
    """The whole input is the file."""
    written = text(data).decode("utf-8", "replace")
    try:
        config = parse(written, "fuzz.toml", ENVIRONMENT)
    except ConfigError as error:
        assert error.problems
        lines = written.count("\n") + 1
        for problem in error.problems:
            found = _PROBLEM.fullmatch(problem)
            assert found, problem
            assert problem.isprintable()
            assert "ssssecret" not in problem, problem
            assert not found[1] or 1 <= int(found[1][1:]) <= lines, problem
        return
    assert config.hostname
