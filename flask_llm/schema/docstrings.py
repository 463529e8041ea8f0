"""What docstrings in Pallets' style say of a function or class and its parameters."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_FIELD = re.compile(r":(?P<kind>\w+)(?:\s+(?P<names>[^:\n]+))?:(?:\s|$)\s*(?P<text>.*)")
_PARAMETERS = {"param", "parameter", "arg", "argument", "key", "keyword", "var", "ivar"}


class Docstring(NamedTuple):
    """The text above the fields, and what the fields say of each parameter."""

    text: str
    parameters: dict[str, str]


def read_docstring(documented: object) -> Docstring:
    """Read the docstring of a function or class; what has none says nothing."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    first = next((n for n, line in enumerate(lines) if _field(line)), len(lines))
    return Docstring("\n".join(lines[:first]).strip(), _parameters(lines[first:]))


def _parameters(lines: list[str]) -> dict[str, str]:
    said: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        found = _field(line)
        if found:
            names = _names(found)
            said |= dict.fromkeys(names, found["text"])
        elif line.strip() and line.startswith(" "):
            said |= {name: f"{said[name]} {line.strip()}".strip() for name in names}
        else:
            names = []
    return said


def _field(line: str) -> re.Match[str] | None:
    return _FIELD.match(line)


def _names(found: re.Match[str]) -> list[str]:
    """Return the names in ``:param int x:`` and ``:param x, y:``."""
    if found["kind"] not in _PARAMETERS or not found["names"]:
        return []
    return [name.split()[-1].lstrip("*") for name in found["names"].split(",")]
