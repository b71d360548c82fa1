"""A store-and-forward mail transfer agent on Twisted. docs/architecture.md is the map of the house."""

__version__ = "0.1.0"
