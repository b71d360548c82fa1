"""
Coverage-guided fuzzing: programs that look for input on which a property of ours does not hold.

`fuzz/targets/` has a file for each target; `python -m fuzz` runs, replays and lists them; docs/testing.md says how.
What was found stays in `tests/corpus/`, and `tests/test_corpus.py` plays it again.
"""
