"""
A configuration with which nothing outside of the simulation is touched.

Owns: what stands for programs, web servers and mailboxes of this host.
Never: changes where other mail goes.
"""

from __future__ import annotations

from pathlib import Path

from mta.config.delivery import Delivery
from mta.config.schema import Config
from mta.config.sending import RouteTable
from mta.destination import NextHop, Transport

_OUTSIDE = (Transport.PIPE, Transport.HTTPS, Transport.HTTP, Transport.MBOX)


def harmless(config: Config, directory: Path) -> Config:
    """`config` with `directory` as its state, without quotas and capture; what is outside takes all, unseen."""
    routes = tuple(map(_harmless, config.routes))
    return config.model_copy(update={"state_dir": directory, "routes": routes, "delivery": Delivery()})


def _harmless(route: RouteTable) -> RouteTable:
    if route.next_hop.transport not in _OUTSIDE:
        return route
    return route.model_copy(update={"next_hop": NextHop(Transport.DISCARD)})
