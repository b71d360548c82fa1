"""
Who knows the users, as the configuration names it.

Owns: the one way from [auth] to what the listeners ask.
Never: opens a file or a connection before somebody logs in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from mta.auth.authentication import Authentication
from mta.auth.dovecot import DovecotUsers
from mta.auth.function import FunctionUsers, found
from mta.auth.users import UserFile
from mta.config.oauth import OAuth
from mta.config.schema import Config
from mta.identity import Identity
from mta.interfaces import IWebClient


def logins(
    config: Config, reactor: Any, run_in_thread: Callable[..., Deferred[Any]], web: IWebClient | None = None
) -> Authentication | None:
    """
    What clients log in to, None where nobody does. Raises `mta.auth.function.FunctionError`.

    `run_in_thread` runs what takes long; without `web` there are no tokens.
    """
    auth = config.auth
    checker: Any = None
    known = Identity
    match auth.backend:
        case "file":
            checker = UserFile(config.users_path, run_in_thread)
            known = checker.known
        case "dovecot":
            checker = DovecotUsers(Path(auth.dovecot), reactor)
        case "function":
            checker = FunctionUsers(found(auth.function))
    tokens = _tokens(auth.oauth, reactor, web, known) if web is not None and auth.oauth.is_used else None
    if checker is None and tokens is None:
        return None
    return Authentication(checker, mechanisms=auth.mechanisms, senders=auth.senders, tokens=tokens)


def _tokens(oauth: OAuth, reactor: Any, web: IWebClient, known: Callable[[str], Identity]) -> Any:
    # Loaded where somebody uses them: they bring PyJWT along.
    from mta.auth.claims import Demands
    from mta.auth.introspection import Introspection
    from mta.auth.keys import FileKeys, WebKeys
    from mta.auth.tokens import Signed, Tokens

    # Not the reactor's, which does not follow where a clock that was wrong at the start is set: tokens live an hour.
    wall = time.time
    source: Any
    if oauth.introspection:
        source = Introspection(
            web,
            url=oauth.introspection,
            client_id=oauth.client_id,
            client_secret=oauth.client_secret,
            keep=oauth.keep,
            seconds=reactor.seconds,
            wall=wall,
        )
    elif "://" in oauth.jwks:
        source = Signed(WebKeys(web, oauth.jwks, reactor.seconds))
    else:
        source = Signed(FileKeys(Path(oauth.jwks)))
    demands = Demands(
        oauth.issuer,
        frozenset(oauth.audience),
        frozenset(oauth.scopes),
        oauth.user_claim,
        expires=not oauth.introspection,  # there the issuer itself says whether it has ended
    )
    return Tokens(source, demands, wall=wall, openid_configuration=oauth.openid_configuration, known=known)
