"""
The process in which one target is fuzzed: libFuzzer by way of Atheris.

Owns: which modules are instrumented, that nothing of them is imported before, and the dictionary made of a target's
`WORDS`.
Never: judges, or keeps findings; `fuzz/campaign.py` started it and reads what it writes.

``python -m fuzz.instrumented TARGET [libFuzzer's options and folders]``
"""

from __future__ import annotations

import importlib
import sys
import tempfile

import atheris

from fuzz.finding import bounded

# Targets that look into what they are built on, too.
ALSO = {"dns_answer": ["twisted.names.dns"], "configuration": ["tomllib"], "control_request": ["twisted.protocols"]}


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["mta", *ALSO.get(name, ())]):
        module = importlib.import_module(f"fuzz.targets.{name}")
    target = module.target
    words: tuple[bytes, ...] = getattr(module, "WORDS", ())

    def run(data: bytes) -> None:
        with bounded():
            target(data)

    with tempfile.NamedTemporaryFile("w", suffix=".dict") as dictionary:
        dictionary.writelines(f'"{_escaped(word)}"\n' for word in words)
        dictionary.flush()
        options = [f"-dict={dictionary.name}"] if words else []
        atheris.Setup([sys.argv[0], *options, *arguments], run)
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    """A word as libFuzzer's dictionaries have it."""
    return "".join(f"\\x{octet:02x}" for octet in word)


if __name__ == "__main__":
    main()
