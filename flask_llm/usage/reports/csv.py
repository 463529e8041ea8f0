"""Lines as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the start of a formula, wide forms included, as OWASP
lists them (https://owasp.org/www-community/attacks/CSV_Injection)."""


def csv_lines(
    columns: Iterable[str], batches: Iterable[Iterable[Mapping[str, Any]]]
) -> Iterator[str]:
    """Write batches of lines, each as it comes, below a line of names.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    names = list(columns)
    yield _written([names])
    for batch in batches:
        text = _written([_cell(line[name]) for name in names] for line in batch)
        if text:
            yield text


def _written(lines: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(lines)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and _is_risky(value):
        return f"'{value}"
    return value


def _is_risky(text: str) -> bool:
    """Tell whether a text may be taken for a formula; money below zero is none."""
    if re.fullmatch(r"-[0-9]+\.[0-9]+", text):
        return False
    return text.lstrip(" ").startswith(RISKY)
