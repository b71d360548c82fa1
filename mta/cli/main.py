"""
The `mta` command, and `sendmail` and `mailq`, which are other names of it.

Owns: the names of the commands, and how they end: messages on standard error, exit codes of sysexits.
Never: imports a command before it is asked for. Start-up time is what people feel, and a script's loop pays it often.
Fails: never with a traceback for what a person typed.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import PurePath
from typing import NamedTuple

import click

from mta import __version__
from mta.cli.failure import CommandError


class Lazy(NamedTuple):
    """Where a command stands, and its line in the list of commands."""

    module: str
    name: str
    help: str


COMMANDS = {
    "check": Lazy("mta.cli.check", "check", "Check the configuration and what it points to."),
    "dns": Lazy("mta.cli.dns", "dns", "Print the DNS records and the MTA-STS policy to publish for a domain."),
    "queue": Lazy("mta.cli.queue", "queue", "List and change the queue."),
    "send": Lazy("mta.cli.send", "send", "Send a message from standard input, as sendmail does."),
    "simulate": Lazy("mta.cli.simulate", "simulate", "Tell what would become of the mail, in a world of your making."),
    "status": Lazy("mta.cli.status", "status", "Tell what the daemon is doing, and when its certificates end."),
    "sts": Lazy("mta.cli.sts", "sts", "Look at the MTA-STS policies of other domains."),
    "table": Lazy("mta.cli.table", "table", "Look into tables of users, aliases and recipients."),
    "tls": Lazy("mta.cli.tls", "tls", "Make a first certificate."),
    "tlsrpt": Lazy("mta.cli.tlsrpt", "tlsrpt", "Look at what is counted for reports on TLS."),
    "trace": Lazy("mta.cli.trace", "trace", "Print every event of a message."),
    "undo": Lazy("mta.cli.undo", "undo", "Undo a change of the queue."),
    "user": Lazy("mta.cli.user", "user", "Add and change the users who log in to send mail."),
}

# The names that programs call an MTA's tools by, and the words they stand for.
ALIASES = {"sendmail": ["send"], "mailq": ["queue", "list"]}


class Unread(Exception):  # noqa: N818
    """Nobody reads the output any more. (Of a `BrokenPipeError` click itself makes exit code 1.)"""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run, not when they are listed."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise Unread from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        command = getattr(import_module(lazy.module), lazy.name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in sorted(COMMANDS)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mta", message="%(prog)s %(version)s")
@click.option("--config", metavar="FILE", help="Configuration file. [default: $MTA_CONFIG, or ./etc/mta.toml]")
@click.pass_context
def mta(context: click.Context, config: str | None) -> None:
    """Run and look after the mail transfer agent. (`twistd mta` starts it.)"""
    context.obj = config


def run(arguments: Sequence[str], name: str = "mta") -> int:
    """The exit code of the command that `arguments` spell, called as `name`."""
    arguments = [*ALIASES.get(name, []), *arguments]
    try:
        code = mta.main(arguments, prog_name="mta", standalone_mode=False)
        # Whatever is still in the buffer must meet its closed pipe here, not in the interpreter's last breath.
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        return os.EX_USAGE
    except CommandError as error:
        for line in error.message.splitlines():
            click.echo(f"{name}: {line}", err=True)
        return error.code
    except (click.Abort, KeyboardInterrupt):
        return 130  # the shell's 128 + SIGINT
    except (BrokenPipeError, Unread):
        # `mta queue list | head`
        _drop_output()
        return 141  # the shell's 128 + SIGPIPE
    except OSError as error:
        _drop_output()
        click.echo(f"{name}: {error.strerror or error}", err=True)
        return os.EX_IOERR
    return code if isinstance(code, int) else os.EX_OK


def _drop_output() -> None:
    """Forget what could not be written: Python would try again at exit, and complain."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def _open_closed_streams() -> None:
    """
    Put /dev/null in the place of each standard stream that the caller has closed (`>&-`).

    Python has None there, and the next file that is opened, be it the spool, would get the stream's number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def main() -> None:
    """The entry point."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A header in a script that this terminal's encoding lacks is no reason to end in a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:], PurePath(sys.argv[0]).name))
