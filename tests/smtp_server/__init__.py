"""Tests of the SMTP server without I/O: dots, commands, replies, the session."""
