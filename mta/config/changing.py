"""
What of a new configuration a running daemon can take.

Owns: which options are those of the start.
Never: applies anything.
"""

from __future__ import annotations

from mta.config.schema import Config


def take(running: Config, new: Config) -> tuple[Config, list[str]]:
    """
    The new configuration, with what can't change before the next start left as it is; a line for each such option.

    Listeners stay with their endpoints; all else of them (role, name) may change.
    """
    kept: dict[str, object] = {}
    notes = []
    for name in ("state_dir", "workers", "control"):
        if getattr(new, name) != getattr(running, name):
            kept[name] = getattr(running, name)
            notes.append(f"{name} has changed: that takes a restart")
    if new.log.file != running.log.file:
        kept["log"] = new.log.model_copy(update={"file": running.log.file})
        notes.append("log.file has changed: that takes a restart")
    if new.sts.policy.serve != running.sts.policy.serve:
        policy = new.sts.policy.model_copy(update={"serve": running.sts.policy.serve})
        kept["sts"] = new.sts.model_copy(update={"policy": policy})
        notes.append("sts.policy.serve has changed: that takes a restart")
    by_endpoint = {listener.endpoint: listener for listener in new.listeners}
    if set(by_endpoint) != {listener.endpoint for listener in running.listeners}:
        notes.append("the endpoints of the listeners have changed: that takes a restart")
    kept["listeners"] = tuple(by_endpoint.get(listener.endpoint, listener) for listener in running.listeners)
    return new.model_copy(update=kept), notes
