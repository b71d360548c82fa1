"""Measurements beside Postfix on the same machine, in the same run."""
