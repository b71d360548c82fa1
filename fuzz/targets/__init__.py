"""
The targets.

Each module has `target(data)`, which raises AssertionError (or lets any other exception out) where the property that
its docstring states does not hold. `WORDS` are pieces that such input is made of.
"""
