"""The sample and the reference: complete, current, and true."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo
from twisted.trial.unittest import SynchronousTestCase

from mta.config.loading import parse
from mta.config.messages import table_of
from mta.config.option import Table, details
from mta.config.rendering import documentation, sample, write
from mta.config.schema import Settings
from tests.config.test_loading import HEAD

ROOT = Path(__file__).parents[2]


def options(table: type[Table], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in table.model_fields.items():
        key = path + (field.alias or name)
        inner = table_of(field.annotation)
        if inner:
            yield from options(inner, f"{key}.")
        else:
            yield key, field


class RenderingTests(SynchronousTestCase):
    def test_committed_files_are_current(self) -> None:
        """etc/mta.toml and docs/configuration.md are what `python -m mta.config.rendering` writes."""
        self.assertEqual(sample(), (ROOT / "etc" / "mta.toml").read_text("utf-8"))
        self.assertEqual(documentation(), (ROOT / "docs" / "configuration.md").read_text("utf-8"))

    def test_write(self) -> None:
        """Both files are written below the root that is given."""
        root = Path(self.mktemp())
        (root / "etc").mkdir(parents=True)
        (root / "docs").mkdir()
        write(root)
        self.assertEqual(sample(), (root / "etc" / "mta.toml").read_text("utf-8"))
        self.assertEqual(documentation(), (root / "docs" / "configuration.md").read_text("utf-8"))

    def test_every_option_is_explained(self) -> None:
        """Each option has one sentence, a unit, and, where it has a default, the source of it."""
        for key, field in options(Settings):
            note = details(field)
            self.assertTrue(field.description and field.description.endswith("."), key)
            self.assertTrue(note.unit, key)
            self.assertTrue(note.source or field.is_required(), key)

    def test_the_sample_is_a_configuration(self) -> None:
        """The sample loads as it is, and listens where the README says."""
        config = parse(sample(), "etc/mta.toml", {})
        self.assertEqual(("tcp:2525:interface=127.0.0.1",), tuple(item.endpoint for item in config.listeners))
        self.assertEqual("var", str(config.state_dir))

    def test_the_reference_shows_a_configuration(self) -> None:
        """The tables that the reference shows as examples are right, taken together with the sample's head."""
        for number, example in enumerate(re.findall(r"```toml\n(.*?)```", documentation(), re.DOTALL)):
            config = parse(HEAD + example, f"example {number}", {})
            self.assertTrue(config.local.aliases)

    def test_what_the_sample_shows_is_the_default(self) -> None:
        """A line that is commented out changes nothing when the comment sign goes, tables that are as a whole apart."""
        text = re.sub(r"\n#\[\[.*?(?=\n\[)", "", sample(), flags=re.DOTALL)
        live = "\n".join(
            line[1:] if line.startswith("#") and line[1:2].islower() and " = " in line else line
            for line in text.splitlines()
        )
        self.assertNotEqual(text, live)
        plain, whole = parse(text, "f", {}), parse(live, "f", {})
        self.assertEqual(plain.model_dump(), whole.model_dump())

    def test_the_sample_has_every_option(self) -> None:
        """With all its comment signs gone, the sample sets each option of the schema once."""
        live = "\n".join(
            line[1:] if line.startswith("#") and (line[1:2].islower() or line[1:2] == "[") else line
            for line in sample().splitlines()
        )
        data = tomllib.loads(live)
        for key, _ in options(Settings):
            value: object = data
            for part in key.split("."):
                value = value[0] if isinstance(value, list) else value
                assert isinstance(value, dict)
                self.assertIn(part, value, key)
                value = value[part]

    def test_the_reference_has_every_option(self) -> None:
        """Each option has its row in the reference, below the header of its table."""
        sections = documentation().split("\n## ")
        for key, field in options(Settings):
            table, _, name = key.rpartition(".")
            arrays = ("listener", "route", "tls.certificates", "client.tokens", "delivery.pipe", "delivery.http")
            title = f"`[[{table}]]`" if table in arrays else f"`[{table}]`" if table else "The top"
            (section,) = (section for section in sections if section.startswith(title))
            self.assertIn(f"| `{name}` | {details(field).unit} |", section)
