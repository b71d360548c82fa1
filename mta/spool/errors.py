"""What the spool raises."""


class SpoolError(Exception):
    """The spool could not do what was asked: full, unreadable, of a newer version, closed. The text says which."""


class SpoolDamageError(SpoolError):
    """The spool file holds what can't be, or is gone: asking again is of no use, a person has to look."""


class AlreadyHereError(SpoolError):
    """A message of an archive was imported before; once is enough."""
