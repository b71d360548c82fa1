"""Delivery agents: remote SMTP, Maildir, discard, and the one that chooses among them."""
