"""The benchmark's harness: that it runs, counts right and reads what it wrote. Never a time."""
