"""
Sign a request, as Standard Webhooks has it (github.com/standard-webhooks/standard-webhooks, version 1).

Owns: the three header fields and the secret's form.
Never: sends anything, reads a clock.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


def signed(identity: str, at: int, body: bytes, keys: Sequence[bytes]) -> tuple[tuple[str, str], ...]:
    """
    The header fields of a request with this body, sent at `at` (seconds since 1970); a signature for each of `keys`.

    The receiver knows by `identity` what it has had already, and by the time what is too old to be ours.
    """
    fields = [("webhook-id", identity), ("webhook-timestamp", str(at))]
    if keys:
        content = f"{identity}.{at}.".encode() + body
        signatures = (base64.b64encode(hmac.digest(key, content, "sha256")).decode("ascii") for key in keys)
        fields.append(("webhook-signature", " ".join(f"v1,{signature}" for signature in signatures)))
    return tuple(fields)


def key_of(secret: str) -> bytes:
    """The key in a secret: "whsec_" and its base64. Raises ValueError, without a word of the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    # The specification: between 24 and 64 octets.
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(f'must be "{PREFIX}" and 24 to 64 random octets in base64, as from `openssl rand -base64 32`')
    return key
