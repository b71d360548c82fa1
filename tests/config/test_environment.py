"""Values from the environment."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.config.environment import Substitution
from mta.config.loading import ConfigError, parse
from tests.config.test_loading import HEAD, problems_of


class EnvironmentTests(SynchronousTestCase):
    def secret(self, content: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(content)
        return str(path)

    def test_texts_are_replaced(self) -> None:
        """A reference stands in any text, once or more, in lists and in tables of arrays; keys are left alone."""
        environment = Substitution({"HOST": "h.test", "PORT": "25", "EMPTY": ""})
        data = {"${HOST}": ["smtp://${HOST}:${PORT}", {"a": "${EMPTY}"}], "n": 5, "plain": "{user} $HOST $ {HOST}"}
        expected = {"${HOST}": ("smtp://h.test:25", {"a": ""}), "n": 5, "plain": "{user} $HOST $ {HOST}"}
        self.assertEqual((expected, []), (environment.apply(data), environment.problems))

    def test_one_pass(self) -> None:
        """A value that looks like a reference is only a value."""
        environment = Substitution({"A": "${B}", "B": "secret"})
        self.assertEqual("${B}", environment.apply("${A}"))

    def test_a_file_stands_in(self) -> None:
        """NAME_FILE names a file with the value; the line end behind it is not part of it, all else is."""
        for content, value in ((b"x.test\n", "x.test"), (b"x.test\r\n", "x.test"), (b" a\nb ", " a\nb "), (b"", "")):
            environment = Substitution({"NAME_FILE": self.secret(content)})
            self.assertEqual((value, []), (environment.apply("${NAME}"), environment.problems))

    def test_problems(self) -> None:
        """A reference that can't be replaced is a problem at its place, with its reason."""
        binary, missing = self.secret(b"\xff"), self.mktemp()
        table: dict[str, tuple[dict[str, str], str]] = {
            "${A}": ({}, "A is not set in the environment, nor is A_FILE"),
            "x ${A}": ({"A": "1", "A_FILE": "f"}, "A and A_FILE are both set in the environment; unset one of them"),
            "${A} ": ({"A_FILE": missing}, f"A_FILE: cannot read {missing}: No such file or directory"),
            "${A}  ": ({"A_FILE": binary}, f"A_FILE: {binary} is not UTF-8 text"),
            "${A": ({"A": "1"}, '"${A" is not a reference to the environment; write it as "${NAME}"'),
            "${}": ({}, '"${}" is not a reference to the environment; write it as "${NAME}"'),
            "${A-B}": ({}, '"${A-B}" is not a reference to the environment; write it as "${NAME}"'),
        }
        for text, (environ, reason) in table.items():
            environment = Substitution(environ)
            environment.apply({"a": [text]})
            self.assertEqual([(("a", 0), reason)], environment.problems)

    def test_the_line_is_told_once(self) -> None:
        """A missing variable is one problem, not also a bad value."""
        expected = ["f:7: queue.lifetime: AGE is not set in the environment, nor is AGE_FILE"]
        self.assertEqual(expected, problems_of(HEAD + "[queue]\nlifetime = '${AGE}'"))

    def test_values_reach_the_configuration(self) -> None:
        """What the environment holds is read as if it stood in the file."""
        config = parse(HEAD + "[queue]\nlifetime = '${AGE}'", "f", {"AGE": "2d"})
        self.assertEqual(172_800.0, config.queue.lifetime)

    def test_secrets_are_not_shown(self) -> None:
        """A value from the environment that is wrong is told by its reference: it may be a password."""
        text = HEAD + "[[route]]\nrecipients = ['*@${DOMAIN}']\nnext_hop = 'smtp://user:${SECRET}@x.test'"
        with self.assertRaises(ConfigError) as caught:
            parse(text, "f", {"SECRET": "hunter2", "DOMAIN": "not valid"})
        self.assertEqual(
            (
                'f:7: route 1: recipients: "*@${DOMAIN}" is not a pattern: domain is not a valid name',
                'f:8: route 1: next_hop: "smtp://user:${SECRET}@x.test" must be smtp://HOST:PORT and nothing else',
            ),
            caught.exception.problems,
        )
