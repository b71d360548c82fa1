"""
Look at the MTA-STS policy of a domain from all sides, for a person who wants to know why.

Owns: what is stored, what the DNS says now, what the web server says now.
Never: changes what is stored.
Fails: never; what went wrong is what is found.
"""

from __future__ import annotations

from dataclasses import dataclass

from mta.interfaces import IResolver
from mta.lookup import Status
from mta.sts_policy import StsPolicy
from mta.tls.sts import Fetches
from mta.tls.sts_fetch import FetchError
from mta.tls.sts_store import Stored, StsStore, is_domain
from mta.tls.sts_text import StsTextError, policy_id


@dataclass(frozen=True, slots=True)
class Look:
    """
    What was found. `id` is that of the TXT record; `dns` and `https` say what is wrong there, "" for nothing.

    The web server is asked whatever the DNS says: `fetched` has the id of the record, or "".
    """

    domain: str
    stored: Stored | None
    id: str
    dns: str
    fetched: StsPolicy | None
    https: str


async def look(domain: str, resolver: IResolver, fetcher: Fetches, store: StsStore) -> Look:
    """Look at `domain`."""
    name = domain.lower().removesuffix(".")
    if not is_domain(name):
        return Look(name, None, "", "is no name of a domain", None, "is no name of a domain")
    stored = store.read(name)
    answer = await resolver.lookup(f"_mta-sts.{name}", "TXT")
    id_, dns = "", ""
    try:
        if answer.status is not Status.ANSWER:
            dns = answer.reason
        elif (found := policy_id(answer.records)) is not None:
            id_ = found
        else:
            dns = f"_mta-sts.{name} has no TXT record that begins with v=STSv1"
    except StsTextError as error:
        dns = str(error)
    try:
        return Look(name, stored, id_, dns, await fetcher.fetch(name, id_), "")
    except FetchError as error:
        return Look(name, stored, id_, dns, None, f"{error} ({error.result})")
