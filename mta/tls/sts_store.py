"""
Keep the MTA-STS policies of other domains on disk: one file for each in a folder that all workers share.

Owns: the form of the files, and that each is whole or not there.
Never: decides whether a policy is still good, or fetches one. Reads no clock.
Fails: writing raises OSError; a file that can't be read is none, and `complain` is told.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mta.sts_policy import MAX_AGE, Mode, StsPolicy, is_pattern

FOLDER = "sts"
_SUFFIX = ".json"
# A policy of 64 KiB in JSON, and then some.
_MAX_FILE = 256 * 1024
# RFC 1035 2.3.4, less "mta-sts." and "_mta-sts." in front: so the name of a file has at most 250 octets.
MAX_DOMAIN = 244


@dataclass(frozen=True, slots=True)
class Stored:
    """
    A policy with its times, in seconds since 1970.

    `fetched` is when it came, `checked` when the domain was last asked whether it is still the one, `used` about when
    mail last went there.
    """

    policy: StsPolicy
    fetched: float
    checked: float
    used: float

    @property
    def expires(self) -> float:
        """When it ends, unless it is fetched again (RFC 8461 3.2: max_age counts from the fetch)."""
        return self.fetched + self.policy.max_age


def is_domain(name: str) -> bool:
    """Whether a domain can have a policy: a host name in lower case, and no address literal."""
    return len(name) <= MAX_DOMAIN and "*" not in name and is_pattern(name)


class StsStore:
    """Policies in `folder`. All of it blocks on the disk; a file is read within a fraction of a millisecond."""

    def __init__(self, folder: Path, complain: Callable[[str], None]) -> None:
        self._folder = folder
        self._complain = complain

    def read(self, domain: str) -> Stored | None:
        """What is stored for a domain, if anything."""
        path = self._path(domain)
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(f"{path}: cannot be read: {error.strerror}")
            return None
        try:
            return _stored(json.loads(data), domain)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            # It is fetched again; the next write puts a good one in its place.
            self._complain(f"{path}: is damaged and ignored: {type(error).__name__}: {ascii(str(error))[:100]}")
            return None

    def write(self, domain: str, stored: Stored) -> None:
        """Store it, in the place of what was there: at any moment a reader, or a crash, finds one of the two whole."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        policy = stored.policy
        fields = {
            "domain": domain,
            "id": policy.id,
            "mode": policy.mode.value,
            "mx": policy.mx,
            "max_age": policy.max_age,
            "fetched": stored.fetched,
            "checked": stored.checked,
            "used": stored.used,
        }
        # A name of its own for each write: workers may write at the same time.
        draft = self._folder / f".{secrets.token_hex(8)}"
        try:
            with draft.open("x", encoding="ascii") as file:
                json.dump(fields, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path(domain))
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def remove(self, domain: str) -> None:
        """Forget a domain."""
        self._path(domain).unlink(missing_ok=True)

    def domains(self) -> Iterator[str]:
        """All domains that have a file."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return
        for name in sorted(names):
            domain = name.removesuffix(_SUFFIX)
            if domain != name and is_domain(domain):
                yield domain

    def _path(self, domain: str) -> Path:
        if not is_domain(domain):
            raise ValueError(f"{domain!r} is no domain")
        return self._folder / f"{domain}{_SUFFIX}"


def _stored(fields: Any, domain: str) -> Stored:
    """Raises ValueError, KeyError, TypeError."""
    policy = StsPolicy(Mode(fields["mode"]), tuple(fields["mx"]), fields["max_age"], fields["id"])
    times = [float(fields[name]) for name in ("fetched", "checked", "used")]
    if fields["domain"] != domain:
        raise ValueError("it is another domain's")
    if not all(isinstance(pattern, str) and is_pattern(pattern) for pattern in policy.mx):
        raise ValueError("mx has what is no pattern")
    if type(policy.max_age) is not int or not 0 <= policy.max_age <= MAX_AGE or not isinstance(policy.id, str):
        raise ValueError("max_age or id is wrong")
    if not all(0 <= time < 1e12 for time in times):
        raise ValueError("a time is wrong")
    return Stored(policy, *times)
