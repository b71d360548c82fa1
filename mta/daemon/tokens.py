"""
Make what fetches access tokens for next hops, from the configuration's words.

Owns: which part gets which.
Never: asks for a token.
Fails: `StartError` where authorities can't be used.
"""

from __future__ import annotations

import os
from typing import Any

from mta.config.schema import Config
from mta.daemon.starting import StartError
from mta.daemon.storage import Storage
from mta.delivery.token_store import FOLDER, TokenStore
from mta.delivery.tokens import Tokens, TokenSource
from mta.interfaces import IResolver
from mta.tls.https import Https
from mta.tls.https_connection import trusted


def tokens_of(config: Config, reactor: Any, resolver: IResolver, storage: Storage) -> Tokens:
    """The tokens of [[client.tokens]]. Stop it with the agents."""
    note = storage.note
    store = TokenStore(config.state_dir / FOLDER, lambda line: note("token-store", {"reason": line}))
    sources = {}
    for number, table in enumerate(config.client.tokens, 1):
        try:
            root = trusted(table.ca_file)
        except (OSError, ValueError) as error:
            where = f"client.tokens {number}: ca_file"
            raise StartError(f"{where}: {table.ca_file}: {error}", os.EX_CONFIG) from error
        sources[table.name] = TokenSource(
            table.as_grant(),
            web=Https(reactor=reactor, resolver=resolver, trust_root=root),
            store=store,
            clock=reactor,
            rng=storage.rng,
            run_in_thread=storage.run_in_thread,
            note=note,
        )
    return Tokens(sources)
