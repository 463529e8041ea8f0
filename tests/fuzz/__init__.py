"""Parsers of what others wrote, each with a check that takes any bytes whatever.

A target is a module with ``SEEDS``, bytes to begin with, and ``check(data)``, which
passes over the package's own errors and lets all others out. ``__main__.py`` feeds it
for as long as one likes, ``test_fuzz.py`` for a moment.
"""

from pathlib import Path

TARGETS = sorted(
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if not path.stem.startswith(("_", "test_", "common", "changes"))
)
