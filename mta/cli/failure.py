"""The one way a command gives up: a line on standard error, and an exit code of sysexits."""

from __future__ import annotations

import click


class CommandError(click.ClickException):
    """Ends the command with `text` (one line, or one for each problem) and `code`, an `os.EX_*`."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code
