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
    preload: bool = False
    """Whether the app is loaded before workers are forked."""
    patches: bool = False
    """Whether the configuration file has gevent patch before that."""

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
    tree = _parsed(file)
    said = _literals(tree) | arguments
    return Server(
        workers=_number(said.get("workers", environ.get("WEB_CONCURRENCY")), 1),
        worker_class=str(said.get("worker_class", "sync")),
        threads=_number(said.get("threads"), 1),
        timeout=_number(said.get("timeout"), 30),
        preload=bool(said.get("preload_app")),
        patches=any(map(_is_patch, ast.walk(tree))),
    )


def _arguments(line: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-w", "--workers")
    parser.add_argument("-k", "--worker-class")
    parser.add_argument("--threads")
    parser.add_argument("-t", "--timeout")
    parser.add_argument("-c", "--config")
    parser.add_argument("--preload", action="store_true", dest="preload_app")
    return vars(parser.parse_known_args(shlex.split(line))[0])


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def _literals(tree: ast.Module) -> dict[str, Any]:
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _is_patch(node: ast.AST) -> bool:
    """Tell whether a piece of code is ``monkey.patch_all``."""
    return isinstance(node, ast.Attribute) and node.attr == "patch_all"


def _number(value: Any, default: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default
