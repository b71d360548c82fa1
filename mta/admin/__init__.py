"""The control socket of a running daemon."""
