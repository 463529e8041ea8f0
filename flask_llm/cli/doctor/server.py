"""How gunicorn will run the app, read from where it reads that itself."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = "gunicorn.conf.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Gunicorn's settings, its own defaults where nothing is said."""

    workers: int
    worker_class: str
    threads: int
    timeout: int
    """Seconds of silence after which a worker is killed; 0 never does."""

    @property
    def is_sync(self) -> bool:
        """Whether a worker does one thing at a time; threads make it ``gthread``."""
        return self.worker_class == "sync" and self.threads <= 1


def find(environ: Mapping[str, str], folder: Path) -> Server | None:
    """Return how gunicorn will run the app; None where there is no sign of it.

    Its configuration file is read and not run: what is computed there stays unknown.
    """
    arguments = _arguments(environ.get("GUNICORN_CMD_ARGS", ""))
    file = folder / str(arguments.pop("config", CONFIG)).removeprefix("file:")
    is_named = environ.get("SERVER_SOFTWARE", "").startswith("gunicorn")
    if not (arguments or is_named or file.is_file()):
        return None
    said = _literals(file) if file.is_file() else {}
    said |= arguments
    return Server(
        workers=_number(said.get("workers", environ.get("WEB_CONCURRENCY")), 1),
        worker_class=str(said.get("worker_class", "sync")),
        threads=_number(said.get("threads"), 1),
        timeout=_number(said.get("timeout"), 30),
    )


def _arguments(line: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-w", "--workers")
    parser.add_argument("-k", "--worker-class")
    parser.add_argument("--threads")
    parser.add_argument("-t", "--timeout")
    parser.add_argument("-c", "--config")
    return vars(parser.parse_known_args(shlex.split(line))[0])


def _literals(file: Path) -> dict[str, Any]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return {}
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _number(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default
