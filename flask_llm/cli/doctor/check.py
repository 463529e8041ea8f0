"""What a check looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flask import Flask

from flask_llm.state import State

OK, HINT, BAD = "ok", "hint", "BAD"
"""All is well; something to know; something to mend, which the exit code tells."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one check has found."""

    name: str
    level: str
    text: str
    cure: str = ""
    """What to do about it; empty where nothing is to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is looked at."""

    app: Flask
    state: State
    environ: Mapping[str, str]
    folder: Path
    """Where the server is started, as far as that is known: the current folder."""
    now: Callable[[], datetime]
    """The time of day, aware."""


Look = Callable[[Setup], Iterator[Check]]
"""One check: it yields what it finds, and nothing where it does not apply."""
