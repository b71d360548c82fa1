"""
Put values of the environment into the configuration.

Owns: the meaning of ``${NAME}`` in a text, and of ``NAME_FILE`` that names a file with the value.
Never: touches keys, numbers or comments; keeps a value: messages must not show a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mta.config.lines import Location

_REFERENCE = re.compile(r"\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Substitution:
    """
    One pass over a parsed file.

    `problems` are what was wrong, by location. `hide` takes the values that were put in out of a message again.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._hidden: dict[Location, dict[str, str]] = {}
        self.problems: list[tuple[Location, str]] = []

    def apply(self, value: Any, location: Location = ()) -> Any:
        """The value with every reference in its texts replaced and its lists made tuples; `value` stays as it is."""
        if isinstance(value, dict):
            return {key: self.apply(item, (*location, key)) for key, item in value.items()}
        if isinstance(value, list):
            return tuple(self.apply(item, (*location, number)) for number, item in enumerate(value))
        if isinstance(value, str) and "${" in value:
            return self._expand(value, location)
        return value

    def hide(self, location: Location, message: str) -> str:
        """A message about `location` with each value that came from the environment written as its reference again."""
        for where, values in self._hidden.items():
            if where[: len(location)] == location or location[: len(where)] == where:
                for value in sorted(values, key=len, reverse=True):
                    message = message.replace(value, values[value])
        return message

    def _expand(self, text: str, location: Location) -> str:
        def replacement(found: re.Match[str]) -> str:
            try:
                value = self._lookup(found)
            except ValueError as error:
                self.problems.append((location, str(error)))
                return found[0]
            if value:
                self._hidden.setdefault(location, {})[value] = found[0]
            return value

        # One pass: a value that looks like a reference is not expanded again.
        return _REFERENCE.sub(replacement, text)

    def _lookup(self, found: re.Match[str]) -> str:
        name = found[1]
        if not found[2] or not _NAME.fullmatch(name):
            raise ValueError(f'"{found[0]}" is not a reference to the environment; write it as "${{NAME}}"')
        file_name = self._environ.get(f"{name}_FILE")
        value = self._environ.get(name)
        if value is not None and file_name is not None:
            raise ValueError(f"{name} and {name}_FILE are both set in the environment; unset one of them")
        if value is not None:
            return value
        if file_name is None:
            raise ValueError(f"{name} is not set in the environment, nor is {name}_FILE")
        return _secret(f"{name}_FILE", Path(file_name))


def _secret(name: str, path: Path) -> str:
    """The text of a file without the line end that editors add."""
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{name}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name}: {path} is not UTF-8 text") from None
