"""What the spool raises."""


class SpoolError(Exception):
    """The spool could not do what was asked: full, unreadable, of a newer version, closed. The text says which."""
