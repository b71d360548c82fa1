"""The resolver client and what it is used for."""
