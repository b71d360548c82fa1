"""The texts of reports: those that ship, those of an operator, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path
from string import Template

from twisted.trial.unittest import SynchronousTestCase

from mta.message.templates import NAMES, TemplateError, load, shipped

GOOD = "Subject: Oh no: $whom\n\nIt costs 5 $$.\n\n$recipients\n"


class ShippedTests(SynchronousTestCase):
    def test_all_languages_are_whole(self) -> None:
        """English and German ship, each with every text, and every text passes its own check."""
        for language in load(("en", "de")):
            self.assertEqual(set(language.notices), set(NAMES))
        self.assertEqual([language.tag for language in load(("de", "en", "de"))], ["de", "en"])
        self.assertEqual([language.tag for language in shipped()], ["en"])

    def test_texts_are_packaged(self) -> None:
        """What ships is listed as package data: a wheel without it could not send a bounce."""
        setup = (Path(__file__).parent.parent.parent / "setup.cfg").read_text()
        self.assertIn("message/notices/*/*.txt", setup)


class OperatorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        (self.directory / "en").mkdir(parents=True)

    def write(self, name: str, text: str | bytes, language: str = "en") -> None:
        path = self.directory / language / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def error(self, *languages: str) -> str:
        """The one line that loading the texts ends with."""
        error = self.assertRaises(TemplateError, load, languages or ("en",), self.directory)
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_replaced(self) -> None:
        """A file of the operator's replaces the text of its name; all others stay."""
        self.write("refused.txt", GOOD)
        (language,) = load(("en",), self.directory)
        self.assertEqual(language.notices["refused"].subject, "Oh no: $whom")
        self.assertEqual(language.notices["refused"].paragraphs, ("It costs 5 $$.", "$recipients"))
        self.assertEqual(language.notices["delayed"], shipped()[0].notices["delayed"])

    def test_new_language(self) -> None:
        """A language that does not ship is whole or refused with the file that is missing."""
        for name in NAMES:
            self.write(f"{name}.txt", "Hei.\n" if name in ("opening", "closing") else GOOD, "fi")
        self.assertEqual([language.tag for language in load(("fi", "en"), self.directory)], ["fi", "en"])
        (self.directory / "fi" / "delayed.txt").unlink()
        self.assertIn("delayed.txt: cannot be read: No such file", self.error("fi"))

    def test_errors(self) -> None:
        """What can't be used is refused when it is loaded, with the file and the reason."""
        table: dict[tuple[str, str | bytes], str] = {
            ("refused.txt", GOOD + "\n$nobody"): "refused.txt: unknown placeholder $nobody; there are: $arrived, ",
            ("refused.txt", GOOD + "\n$until"): "unknown placeholder $until",
            ("refused.txt", GOOD + "\n5 $"): "$$ is a dollar sign",
            ("refused.txt", b"Subject: \xff\n\n$recipients"): "refused.txt: is not UTF-8",
            ("refused.txt", "Oh no\n\n$recipients\n"): 'the first line must be "Subject: ..."',
            ("refused.txt", "Subject: \n\n$recipients\n"): 'the first line must be "Subject: ..."',
            ("refused.txt", "Subject: $recipients\n\n$recipients\n"): "a subject has no other placeholder than $whom",
            ("refused.txt", "Subject: x\n\nTo $recipients\n"): "as a paragraph of its own",
            ("refused.txt", GOOD + "\n$recipients"): "as a paragraph of its own",
            ("refused.txt", ""): 'the first line must be "Subject: ..."',
            ("closing.txt", "$recipients"): "unknown placeholder $recipients",
            ("refuse.txt", GOOD): "there is no text of this name; there are: opening, refused",
        }
        for (name, text), expected in table.items():
            self.write(name, text)
            self.assertIn(expected, self.error())
            (self.directory / "en" / name).unlink()

    def test_unreadable(self) -> None:
        """A file that is a folder, a directory that is not there, a language that nobody knows."""
        (self.directory / "en" / "delayed.txt").mkdir()
        self.assertIn("delayed.txt: cannot be read: Is a directory", self.error())
        self.assertIn("no texts in language 'fr'", self.error("fr"))
        for tag in ("", "../en", "e", "en/..", "."):
            self.assertIn("is not a language tag", self.error(tag))
        self.directory = self.directory / "missing"
        self.assertIn("missing: no such directory", self.error())
        self.assertIn("no language", str(self.assertRaises(TemplateError, load, ())))

    def test_placeholders_are_documented_by_use(self) -> None:
        """Every placeholder that is allowed is one that some shipped text or its subject uses."""
        used: set[str] = set()
        for notice in shipped()[0].notices.values():
            for text in (notice.subject, *notice.paragraphs):
                used.update(Template(text).get_identifiers())
        self.assertEqual(used, set().union(*NAMES.values()))
