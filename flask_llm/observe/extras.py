"""Where the libraries of the optional extras are loaded."""

from __future__ import annotations

import importlib
from typing import Any

from flask_llm.errors import ConfigError


def load(module: str, *, extra: str) -> Any:
    """Load a module of an optional extra.

    :raises ConfigError: where the extra is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{module} is not installed: pip install 'flask-llm[{extra}]'."
        ) from error
