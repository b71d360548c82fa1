"""Mail that is forwarded to another host, which refuses it, and the bounce that finds its way home."""

from __future__ import annotations

import re
import signal
import smtplib

from tests.end_to_end.daemon import Daemon, EndToEndCase, eventually, free_port, route

SECRET = "a secret of 24 characters"
_ALIAS = '\n[local.aliases]\nteam = ["far@other.test", "alice"]\n'


class ForwardingTests(EndToEndCase):
    def test_way_home(self) -> None:
        """
        The copy that leaves has a sender of ours, the copy that stays has its own; a bounce to ours goes to the sender,
        and a forged one is refused.
        """
        host = Daemon(self.top)
        port = free_port()
        sink = self.sink(port)
        routes = route('*@other.test", "*@home.test', port)
        text = f'\n[srs]\nsecrets = ["{SECRET}"]\n{_ALIAS}{routes}'
        host.config.write_text(host.config.read_text() + text)
        self.addCleanup(host.stop, signal.SIGKILL)
        host.start()
        host.submit("carol@home.test", "team@local.test", "plain@other.test")
        eventually(lambda: len(sink.messages()) == 2 and host.mailbox("alice"), "all copies")
        senders = {found[1] for message in sink.messages() if (found := re.search(r"X-Mail-Args: <(.*?)>", message))}
        rewritten = next(sender for sender in senders if sender.startswith("SRS0="))
        self.assertEqual({"carol@home.test", rewritten}, senders)
        self.assertTrue(rewritten.endswith("=home.test=carol@mx.test"), rewritten)
        self.assertIn("Return-Path: <carol@home.test>", host.mailbox("alice")[0])
        with smtplib.SMTP("127.0.0.1", host.port) as client:
            client.ehlo("other.test")
            client.mail("")
            self.assertEqual(550, client.rcpt(rewritten.replace("carol", "dave"))[0])
            # RFC 5321 2.4 lets nobody change the case of a local part, and some do.
            self.assertEqual(250, client.rcpt(rewritten.lower())[0])
            self.assertEqual(250, client.data("Subject: bounce\r\n\r\nno such user\r\n")[0])
        eventually(lambda: len(sink.messages()) == 3, "the bounce")
        bounce = next(message for message in sink.messages() if "Subject: bounce" in message)
        self.assertIn("X-Rcpt-Args: <carol@home.test>", bounce)
        self.assertIn("X-Mail-Args: <>", bounce)
