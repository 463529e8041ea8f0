"""What a terminal is sent: as much as it has room for, and nothing that steers it."""

from __future__ import annotations

import io
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO, TypeVar

import click

Item = TypeVar("Item")

BLOCKS = str.maketrans("█▉▊▋▌▍▎▏▒░·→", "########=...")
"""What stands for blocks where the output's encoding has none."""


def room() -> int | None:
    """Return how many columns the output has; None where it goes to no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def is_colourful() -> bool:
    """Tell whether the output may be coloured; ``NO_COLOR`` forbids it."""
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not dumb and not os.environ.get("NO_COLOR")


def styled(text: str, **style: Any) -> str:
    """Return a text in click's styles, plain where there are no colours."""
    return click.style(text, **style) if is_colourful() else text


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text, spelt out where the output's encoding has not all of it."""
    stream = sys.stderr if err else sys.stdout
    encoding = stream.encoding or "utf-8"
    if not can_write(text, encoding):
        text = text.translate(BLOCKS)
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(text, err=err, nl=nl)


def can_write(text: str, encoding: str | None) -> bool:
    """Tell whether an encoding has all characters of a text."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def harmless(text: str, *, keep: str = "") -> str:
    """Return a text from outside with what would steer a terminal spelt out.

    :param keep: characters that stay as they are, such as line ends.
    """
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or char in keep
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def shown(text: str, stream: TextIO) -> str:
    """Return a text as it is for a program, harmless where a terminal shows it."""
    return harmless(text, keep="\r\n\t") if stream.isatty() else text


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of, text))


def cut(text: str, width: int) -> list[str]:
    """Return a text in pieces that take so many columns at most; none is lost."""
    pieces = [""]
    for char in text:
        if columns_of(pieces[-1]) + _columns_of(char) > width:
            pieces.append("")
        pieces[-1] += char
    return pieces


def progress(
    items: Iterable[Item] | None = None,
    *,
    label: str,
    length: int | None = None,
    beside: TextIO | None = None,
) -> Any:
    """Return click's bar on standard error, silent where that is no terminal.

    :param beside: what is written meanwhile: silent, too, where that is a terminal.
    """
    silent = not sys.stderr.isatty() or (beside is not None and beside.isatty())
    return click.progressbar(
        items,
        length=length,
        label=label,
        file=io.StringIO() if silent else sys.stderr,
        show_pos=True,
    )


def _columns_of(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0  # it stands above the one before
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
