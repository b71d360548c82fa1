"""
Who knows the users, as the configuration names it.

Owns: the one way from [auth] to what the listeners ask.
Never: opens a file or a connection before somebody logs in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from mta.auth.authentication import Authentication
from mta.auth.dovecot import DovecotUsers
from mta.auth.function import FunctionUsers, found
from mta.auth.users import UserFile
from mta.config.schema import Config


def logins(config: Config, reactor: Any, run_in_thread: Callable[..., Deferred[Any]]) -> Authentication | None:
    """
    What clients log in to, None where nobody does. Raises `mta.auth.function.FunctionError`.

    `run_in_thread` runs what takes long.
    """
    auth = config.auth
    checker: Any
    match auth.backend:
        case "file":
            checker = UserFile(config.users_path, run_in_thread)
        case "dovecot":
            checker = DovecotUsers(Path(auth.dovecot), reactor)
        case "function":
            checker = FunctionUsers(found(auth.function))
        case _:
            return None
    return Authentication(checker, mechanisms=auth.mechanisms, senders=auth.senders)
