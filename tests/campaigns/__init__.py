"""Slow campaigns against the real daemon: each has a make target, and a short run of it is part of the suite."""
