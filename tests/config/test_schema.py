"""The defaults, as shipped."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import parse
from mta.tls_policy import TlsLevel
from tests.config.test_loading import HEAD

DEFAULTS = {
    "shutdown_grace": 30.0,
    "tls": {
        "minimum": "1.2",
        "ciphers": "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES",
        "handshake_timeout": 120.0,
        "requiretls": True,
        "certificates": (),
    },
    "relay": {
        "networks": ("127.0.0.0/8", "::1/128"),
        "domains": (),
        "refused": (),
        "client_certificates": (),
        "client_authorities": "",
        "etrn_domains": (),
        "check_domains": False,
    },
    "local": {
        "domains": (),
        "users": (),
        "maildir": "mail/{user}/Maildir",
        "aliases": {},
        "moved": {},
        "moved_reply": "251",
    },
    "auth": {
        "backend": "none",
        "users": "users",
        "dovecot": "/run/dovecot/auth-client",
        "function": "",
        "mechanisms": ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"),
        "senders": {},
        "failures": 10,
        "failure_period": 600.0,
        "failure_delay": 1.0,
        "messages_per_hour": 0,
        "messages_per_day": 0,
        "recipients_per_hour": 0,
        "recipients_per_day": 0,
        "hide_submitter": False,
        "oauth": {
            "introspection": "",
            "jwks": "",
            "client_id": "",
            "client_secret": "",
            "issuer": "",
            "audience": (),
            "scopes": (),
            "user_claim": "email",
            "openid_configuration": "",
            "keep": 60.0,
            "ca_file": "",
        },
    },
    "dns": {
        "servers": (),
        "timeout": 5.0,
        "attempts": 2,
        "cache_size": 10_000,
        "negative_ttl": 3600.0,
        "trust_ad": "local",
        "validated_name": "org",
    },
    "queue": {
        "retry": (300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0),
        "jitter": 0.1,
        "lifetime": 432_000.0,
        "bounce_lifetime": 86_400.0,
        "delay_notice": 14_400.0,
        "active_messages": 20_000,
        "active_recipients": 200_000,
        "deliveries": 200,
        "site_connections_initial": 5,
        "site_connections": 20,
        "cohort_failures": 3,
        "dead_initial": 60.0,
        "dead_maximum": 3600.0,
        "events_keep": 604_800.0,
        "message_cache": 67_108_864,
    },
    "limits": {
        "connections": 1000,
        "connections_per_client": 50,
        "connection_rate": 300,
        "message_rate": 0,
        "recipient_rate": 0,
        "message_size": 52_428_800,
        "recipients": 1000,
        "expanded_recipients": 10_000,
        "messages_per_session": 100,
        "command_line": 2048,
        "text_line": 2000,
        "header_size": 262_144,
        "mime_depth": 100,
        "idle_timeout": 300.0,
        "errors_soft": 10,
        "errors_hard": 20,
        "junk_commands": 100,
        "error_delay": 1.0,
        "hops": 50,
        "greet_wait": 0.0,
        "policy_timeout": 30.0,
        "proxy_timeout": 5.0,
        "free_space_percent": 10,
    },
    "content": {"bare_newlines": "reject", "normalize_networks": ()},
    "client": {
        "hello": "",
        "source_address": "",
        "recipients_per_transaction": 50,
        "messages_per_connection": 100,
        "bdat": False,
        "eight_bit": "send",
        "ip_preference": "any",
        "in_doubt": "retry",
        "tls": {"default": TlsLevel.MAY, "domains": {}, "heed_tls_required": True, "ca_file": ""},
        "tokens": (),
        "timeouts": {
            "connect": 30.0,
            "greeting": 300.0,
            "hello": 300.0,
            "starttls": 120.0,
            "mail": 300.0,
            "rcpt": 300.0,
            "data": 120.0,
            "block": 180.0,
            "final_dot": 600.0,
            "rset": 20.0,
            "quit": 5.0,
            "idle": 5.0,
            "lifetime": 300.0,
        },
    },
    "bounce": {
        "full_below": 50_000,
        "postmaster": "",
        "languages": ("en",),
        "templates": "",
        "double_bounce": "",
        "rate_per_sender": 100,
    },
    "sts": {
        "follow": True,
        "ca_file": "",
        "policy": {"mode": "testing", "mx": (), "max_age": 604_800.0},
    },
    "log": {"format": "text", "file": "-"},
    "control": {"socket": "control", "mode": 0o600},
}


class DefaultTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """A file with a name and a listener has the defaults that the documentation promises, and only those."""
        found = parse(HEAD, "f", {}).model_dump()
        for key in ("hostname", "state_dir", "workers", "listeners", "routes", "source", "route_lines"):
            del found[key]
        self.assertEqual(DEFAULTS, found)
