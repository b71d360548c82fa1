"""Limits for tests: small numbers, and one place to change when a limit is added."""

from __future__ import annotations

from typing import Any

from mta.policy.limits import ServerLimits


def limits_for_tests(**changed: Any) -> ServerLimits:
    """Limits with the shipped proportions; `changed` by name."""
    fields: dict[str, Any] = {
        "connections": 100,
        "connections_per_client": 50,
        "connection_rate": 300,
        "message_rate": 0,
        "recipient_rate": 0,
        "message_size": 1_000_000,
        "recipients": 100,
        "expanded_recipients": 1000,
        "messages_per_session": 100,
        "command_line": 2048,
        "text_line": 2000,
        "header_size": 256 * 1024,
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
    }
    return ServerLimits(**{**fields, **changed})
