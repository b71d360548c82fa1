"""
The daemon under load, killed again and again: what it acknowledged must not be lost.

``python -m tests.campaigns.crash --kills 40`` (`make crash KILLS=40`); `docs/testing.md` says how to read it.
"""
