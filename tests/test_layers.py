"""
Imports point down.

The table is that of docs/architecture.md: a package imports itself and lower layers; the rooms of layer 3 meet through
`mta/interfaces.py` alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "mta"

# module prefix -> layer; the longest prefix counts. What is in `mta/` itself is layer 0.
LAYERS = {
    "mta": 0,
    "mta.smtp": 1,
    "mta.message": 1,
    "mta.config": 2,
    "mta.routing": 2,
    "mta.policy": 2,
    "mta.queue.schedule": 2,
    "mta.queue.sites": 2,
    "mta.auth": 3,
    "mta.server": 3,
    "mta.delivery": 3,
    "mta.queue": 3,
    "mta.spool": 3,
    "mta.tables": 3,
    "mta.dns": 3,
    "mta.tls": 3,
    "mta.admin": 3,
    "mta.asking": 4,
    "mta.agents": 4,
    "mta.assembly": 4,
    "mta.surroundings": 4,
    "mta.reactor": 4,
    "mta.service": 4,
    "mta.steady": 4,
    "mta.tap": 4,
    "mta.daemon": 4,
    "mta.cli": 4,
    "mta.sim": 4,
}
# The exception that ISpool's Deferreds fail with is part of its contract.
SHARED = ("mta.spool.errors", "mta.spool.SpoolError")
# Layers 0 and 1 take bytes and give values: no network, no waiting, no clock of their own. (`maillog` writes a file.)
WITHOUT_INPUT_AND_OUTPUT = ("socket", "selectors", "select", "asyncio", "threading", "subprocess", "time", "ssl")
# Started for a person who waits, or used by what is.
NEVER_TWISTED = (
    "mta.auth.claims",
    "mta.auth.jwks",
    "mta.auth.passwords",
    "mta.auth.userfile",
    "mta.cli",
    "mta.spool.schema",
    "mta.spool.reading",
    "mta.spool.selecting",
    "mta.spool.answering",
    "mta.spool.chunks",
    "mta.spool.content_files",
    "mta.spool.moving",
    "mta.spool.operating",
    "mta.spool.storing",
    "mta.spool.soundness",
    "mta.tables.backend",
    "mta.tables.checking",
    "mta.tables.ldap",
    "mta.tables.postgresql",
    "mta.tables.reading",
    "mta.tables.sqlite",
    "mta.tables.text",
    "mta.tls.checking",
    "mta.tls.configured",
    "mta.tls.pairs",
    "mta.tls.contexts",
    "mta.tls.selfsigned",
    "mta.tls.tlsrpt_store",
)
# The simulator is the whole MTA, Twisted and all. One command runs it, and imports it when it runs: only in functions.
SIMULATOR = "mta.sim"
RUNS_SIMULATOR = "mta.cli.simulate"
# twistd enters here, a worker process, and a command that asks the network.
ENTRY_POINTS = ("mta.tap", "mta.daemon.worker", "mta.asking")


def imported(source: str) -> Iterator[str]:
    """Every name that `source` imports at run time; what stands under `if TYPE_CHECKING:` does not count."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.ImportFrom):
            # A relative import would hide its target; its dots make it fail every rule below.
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def on_import(source: str) -> set[str]:
    """Every name that is imported when the module is: what stands in a function comes later, if at all."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Pass()]
    return set(imported(ast.unparse(tree)))


def under(name: str, *prefixes: str) -> bool:
    """Whether a dotted name is one of the prefixes or inside one."""
    return any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)


def room(name: str) -> str:
    """The entry of the table that a module belongs to."""
    return max((prefix for prefix in LAYERS if under(name, prefix)), key=len)


def offences(module: str, source: str) -> list[str]:
    """Which imports of `module` break a rule, each with the rule."""
    found = []
    layer = LAYERS[room(module)]
    at_once = on_import(source)
    for name in imported(source):
        if name.startswith("."):
            found.append(f"{name}: imports are absolute")
        if under(name, "twisted.internet.reactor") and module not in ENTRY_POINTS:
            found.append(f"{name}: the reactor is an argument")
        if under(name, "twisted") and (layer < 3 or under(module, *NEVER_TWISTED)):
            found.append(f"{name}: no Twisted here")
        if under(name, SIMULATOR) and not under(module, SIMULATOR) and (module != RUNS_SIMULATOR or name in at_once):
            found.append(f"{name}: the simulator is imported by `mta simulate`, when it runs")
        if layer < 2 and under(name, *WITHOUT_INPUT_AND_OUTPUT):
            found.append(f"{name}: no input and output here")
        if layer < 2 and under(name, "pydantic", "click"):
            found.append(f"{name}: the standard library alone")
        if under(name, "mta") and name != "mta" and not under(name, *SHARED) and name not in ("mta.spool",):
            theirs = LAYERS[room(name)]
            sibling = theirs == layer == 3 and room(name).split(".")[:2] != room(module).split(".")[:2]
            if theirs > layer or sibling:
                found.append(f"{name}: layer {theirs} from layer {layer}")
    return found


def modules() -> Iterator[tuple[str, str]]:
    """The name and the source of each module of the project."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path.read_text()


class LayerTests(SynchronousTestCase):
    def test_every_import_points_down(self) -> None:
        """No module imports a higher layer, a sibling room, or what its layer must not know."""
        found = [f"{module}: {offence}" for module, source in modules() for offence in offences(module, source)]
        self.assertEqual([], found)

    def test_every_room_is_in_the_table(self) -> None:
        """A new package does not fall through to layer 0 unseen."""
        packages = {f"mta.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
        self.assertEqual(set(), packages - set(LAYERS))

    def test_the_test_sees_offences(self) -> None:
        """The rules find what they are for."""
        for module, source in (
            ("mta.address", "import socket"),
            ("mta.smtp.server", "from twisted.internet import defer"),
            ("mta.smtp.server", "from mta.config.schema import Config"),
            ("mta.queue.schedule", "import twisted"),
            ("mta.server.protocol", "from mta.queue.manager import Manager"),
            ("mta.admin.control", "from mta.spool import reading"),
            ("mta.admin.control", "from twisted.internet import reactor"),
            ("mta.cli.queue", "def f():\n    from twisted.internet import defer"),
            ("mta.cli.queue", "def f():\n    from mta.sim.simulation import Simulation"),
            ("mta.cli.simulate", "from mta.sim import chart"),
            ("mta.cli.simulate", "class A:\n    import mta.sim.chart"),
            ("mta.service", "def f():\n    from mta.sim.clock import SimulatedClock"),
            ("mta.spool.reading", "import twisted.python"),
            ("mta.queue.manager", "from . import window"),
            ("mta.service", "import twisted.internet.reactor"),
        ):
            self.assertTrue(offences(module, source), f"{module}: {source}")
        for module, source in (
            ("mta.server.protocol", "from mta.spool.errors import SpoolError\nfrom mta.spool import SpoolError"),
            ("mta.queue.manager", "from mta.queue.schedule import Schedule"),
            ("mta.service", "from mta.queue.manager import Manager\nfrom mta.server import factory"),
            ("mta.cli.simulate", "def f():\n    from mta.sim.simulation import Simulation"),
            ("mta.cli.simulate", "if TYPE_CHECKING:\n    from mta.sim.simulation import Simulation"),
            ("mta.address", "if TYPE_CHECKING:\n    from twisted.internet.defer import Deferred"),
        ):
            self.assertEqual([], offences(module, source), f"{module}: {source}")
