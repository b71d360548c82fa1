"""What the configuration needs of the machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.config.checking import problems
from mta.config.consistency import OTHER_FILES, SHIPPED_LANGUAGES, SPOOL_FILE
from mta.config.loading import parse
from mta.config.schema import Config
from mta.delivery import token_store, whole_file
from mta.spool import ballast, content_files, place, schema, turn
from mta.tls import sts_store, tlsrpt_store
from tests.config.test_loading import HEAD
from tests.peers.certificates import made


class CheckingTests(SynchronousTestCase):
    def setUp(self) -> None:
        # Not trial's own directory, whose path may be too long for a socket.
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.resolv_conf = self.root / "resolv.conf"

    def config(self, state_dir: Path, text: str = "") -> Config:
        return parse(f"state_dir = '{state_dir}'\n{HEAD}{text}", "f", {})

    def problems(self, state_dir: Path, text: str = "") -> list[str]:
        return problems(self.config(state_dir, text), self.resolv_conf)

    def test_nothing_wrong(self) -> None:
        """A state directory that is there or can be made is fine, and nothing is created by looking."""
        self.assertEqual([], self.problems(self.root))
        self.assertEqual([], self.problems(self.root / "not" / "yet"))
        self.assertEqual([], list(self.root.iterdir()))

    def test_authorities(self) -> None:
        """A file of authorities must be there and hold certificates."""
        file = self.root / "authorities.pem"
        text = f"\n[client.tls]\nca_file = '{file}'\n"
        self.assertEqual(
            [f"f: client.tls.ca_file: cannot read {file}: No such file or directory"], self.problems(self.root, text)
        )
        file.write_text("nothing")
        self.assertEqual(
            [f"f: client.tls.ca_file: {file} has no certificates in PEM form"], self.problems(self.root, text)
        )
        file.write_bytes(made("root", is_authority=True).pem)
        self.assertEqual([], self.problems(self.root, text))

    def test_state_dir_is_a_file(self) -> None:
        """A file where a directory must be is told, also on the way to it."""
        (self.root / "file").touch()
        for path in (self.root / "file", self.root / "file" / "var"):
            self.assertEqual([f"f: state_dir: {self.root / 'file'} is not a directory"], self.problems(path))

    def test_state_dir_is_closed(self) -> None:
        """A directory in which we may not write is told."""
        self.patch(os, "access", lambda path, mode: (path, mode) != (self.root, os.W_OK | os.X_OK))  # root may always
        self.assertEqual([f"f: state_dir: no permission to write in {self.root}"], self.problems(self.root / "var"))

    def test_places_below(self) -> None:
        """The log and the control socket may stand in directories of their own, if those can be made."""
        (self.root / "file").touch()
        text = "[log]\nfile = 'file/log'\n[control]\nsocket = 'file/control'"
        self.assertEqual(
            [f"f: {key}: {self.root / 'file'} is not a directory" for key in ("log.file", "control.socket")],
            self.problems(self.root, text),
        )
        self.assertEqual([], self.problems(self.root, "[log]\nfile = 'log/mail'"))

    def test_files_of_the_queue(self) -> None:
        """The names that no other file may have are those that the queue and its agents use."""
        place.lock(self.root).close()
        self.assertEqual(
            {
                ballast.FILE_NAME,
                turn.FILE_NAME,
                content_files.FOLDER,
                sts_store.FOLDER,
                whole_file.FOLDER,
                tlsrpt_store.FOLDER,
                token_store.FOLDER,
                *os.listdir(self.root),
            },
            set(OTHER_FILES),
        )
        self.assertEqual(SPOOL_FILE, schema.FILE_NAME)

    def test_a_long_socket_path(self) -> None:
        """A path that no UNIX socket can have is told before the start fails on it (unix(7))."""
        (found,) = self.problems(self.root / ("x" * 108))
        self.assertIn("octets of at most 107; shorten state_dir", found)

    def test_a_long_path_of_a_next_hop(self) -> None:
        """The socket of a next hop is measured too: below state_dir where its path is relative, else as it is."""
        text = "".join(
            f"[[route]]\nrecipients = ['*@{name}.test']\nnext_hop = 'lmtp+unix:{path}'\n"
            for name, path in (("a", "/" + "x" * 107), ("b", "y" * 100), ("c", "/run/lmtp"))
        )
        first, second = self.problems(self.root, text)
        self.assertRegex(first, r"\Af: route 1: next_hop: /x+ has 108 octets of at most 107; shorten it\Z")
        self.assertRegex(
            second, r"\Af: route 2: next_hop: /.*/y+ has [0-9]+ octets of at most 107; shorten state_dir\Z"
        )

    def test_templates(self) -> None:
        """The operator's texts are read by looking: a missing directory or a wrong text is told."""
        own = self.root / "texts"
        text = f"[bounce]\ntemplates = '{own}'\nlanguages = ['de', 'fr']"
        self.assertEqual([f"f: bounce.templates: {own}: no such directory"], self.problems(self.root, text))
        (own / "de").mkdir(parents=True)
        (own / "de" / "refused.txt").write_text("Hallo", "utf-8")
        (found,) = self.problems(self.root, text)
        self.assertIn(f"f: bounce.templates: {own / 'de' / 'refused.txt'}: the first line", found)

    def test_languages(self) -> None:
        """The languages that the configuration knows of are those that ship."""
        shipped = resources.files("mta.message").joinpath("notices").iterdir()
        self.assertEqual(set(SHIPPED_LANGUAGES), {folder.name for folder in shipped})
        self.assertEqual([], self.problems(self.root, "[bounce]\nlanguages = ['de', 'en']"))

    def test_resolvers(self) -> None:
        """The file of the system's resolvers must be readable where it is used; without it the local one is asked."""
        self.resolv_conf.mkdir()
        (found,) = self.problems(self.root)
        self.assertEqual(
            f"f: dns.servers: is empty, and {self.resolv_conf} cannot be read: Is a directory",
            found,
        )
        self.assertEqual([], self.problems(self.root, "[dns]\nservers = ['192.0.2.1']"))
