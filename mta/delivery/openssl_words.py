"""
What OpenSSL says when a connection breaks.

Owns: taking its last words out of an exception.
Never: fails; there is always something to say.
"""

from __future__ import annotations


def openssl_words(error: BaseException | None) -> str:
    """The last thing that OpenSSL has to say of an error: "unexpected eof while reading"."""
    found = error.args[0] if error is not None and error.args else None
    if isinstance(found, list) and found and isinstance(found[-1], tuple) and found[-1]:
        return str(found[-1][-1])
    return "the TLS connection was broken off"
