"""
Keys of an issuer (RFC 7517), and the signatures they verify (RFC 7515, RFC 7518).

Owns: which keys are for signatures, and which algorithms each is for.
Never: fetches keys, or weighs what a token says (`mta/auth/claims.py`). The cryptography is PyJWT's and cryptography's.
Fails: `KeySetError` for a set that is none; `TokenRefused`, and `UnknownKey` where other keys might do.

There is no algorithm without a key ("none") and none with a shared one ("HS256"): whoever knows a public key, which is
everybody, could sign with that as if it were the secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from jwt import InvalidSignatureError, PyJWK, PyJWS, PyJWTError

from mta.auth.claims import Claims, TokenRefused

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# By type and curve (RFC 7518 3.1, 6.2.1.1; RFC 8037 3.1); what stands in a key beside these members is not looked at.
_ALGORITHMS = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_PUBLIC = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
_KNOWN = frozenset(name for names in _ALGORITHMS.values() for name in names)
# Bits of a modulus at least (RFC 7518 3.3), and at most: OpenSSL takes no more.
_SMALLEST, _LARGEST = 2048, 16_384
# Issuers have two or three; a token without "kid" is tried on each.
MAX_KEYS = 32


class KeySetError(Exception):
    """There are no keys in it that can be used."""


class UnknownKey(TokenRefused):
    """The token was signed with a key that is not in the set, as far as can be told."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: its name (None: it has none), and an object for each algorithm it is for."""

    kid: str | None
    algorithms: dict[str, PyJWK]


def keys_in(text: bytes) -> tuple[Key, ...]:
    """The keys of a set that are for signatures; others are passed over (RFC 7517 5). Raises `KeySetError`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise KeySetError("no JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise KeySetError("no JWK Set (RFC 7517)")
    found = tuple(key for each in listed[:MAX_KEYS] if (key := _key(each)) is not None)
    if not found:
        raise KeySetError("no key that verifies signatures")
    return found


def _key(entry: object) -> Key | None:
    """One key of a set; None for what is none, or is for something else."""
    if not isinstance(entry, dict):
        return None
    kid, kty, curve, operations = (entry.get(name) for name in ("kid", "kty", "crv", "key_ops"))
    if not all(each is None or isinstance(each, str) for each in (kid, kty, curve)):
        return None
    able = _ALGORITHMS.get((kty or "", None if kty == "RSA" else curve), ())
    named = [name for name in able if entry.get("alg") in (None, name)]
    if entry.get("use") not in (None, "sig") or (isinstance(operations, list) and "verify" not in operations):
        return None
    public = {name: entry.get(name) for name in _PUBLIC.get(kty or "", ())}
    if not named or not all(isinstance(value, str) for value in public.values()):
        return None
    try:
        made = {name: PyJWK(public, name) for name in named}
    except (PyJWTError, ValueError, TypeError):
        return None
    if kty == "RSA" and not _SMALLEST <= made[named[0]].key.key_size <= _LARGEST:
        return None
    return Key(kid, made)


def verified(token: str, keys: Iterable[Key]) -> Claims:
    """What a JWT says that one of the keys has signed. Raises `TokenRefused`, `UnknownKey`."""
    signer = PyJWS(algorithms=sorted(_KNOWN))
    try:
        header = signer.get_unverified_header(token)
    except (PyJWTError, ValueError, RecursionError):
        raise TokenRefused("no JWT") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _KNOWN:
        raise TokenRefused("its algorithm is none that is taken")
    named = [key for key in keys if kid in (None, key.kid)]
    if kid is not None and not named:
        raise UnknownKey("signed with an unknown key")
    fitting = [key.algorithms[algorithm] for key in named if algorithm in key.algorithms]
    for key in fitting:
        try:
            return _claims(signer.decode_complete(token, key, algorithms=[algorithm])["payload"])
        except InvalidSignatureError:
            continue
        except (PyJWTError, ValueError, TypeError):
            raise TokenRefused("no JWT that can be verified") from None
    if kid is None:
        raise UnknownKey("signed with none of the keys")
    raise TokenRefused("the signature is wrong" if fitting else "its algorithm is not that of the key")


def _claims(payload: bytes) -> Claims:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise TokenRefused("it has no claims")
    return claims
