"""Back ends whose values are plain text: nothing is ever unpickled."""

from __future__ import annotations

from typing import IO, Any

from flask import Flask

_DIGITS_MAX = 18
"""Those of any number that a back end keeps for itself."""


class Plain:
    """Texts as they are: nobody who writes to the cache can make us unpickle.

    Answers are JSON objects; the numbers are those that FileSystemCache counts its
    files with. Anything else is not ours.
    """

    def dumps(self, value: str | int, **_: Any) -> bytes:
        """Write a value."""
        return str(value).encode()

    def loads(self, bvalue: bytes | None, **_: Any) -> str | int | None:
        """Read a value; None where it is not ours."""
        try:
            text = bytes(bvalue or b"").decode("ascii")
        except UnicodeDecodeError:
            return None
        if text.startswith("{"):
            return text
        return int(text) if text.isdigit() and len(text) <= _DIGITS_MAX else None

    def dump(self, value: str | int, f: IO[bytes], **_: Any) -> None:
        """Write a value to a file."""
        f.write(self.dumps(value))

    def load(self, f: IO[bytes], **_: Any) -> str | int | None:
        """Read a value from a file."""
        return self.loads(f.read())


def plain(app: Flask, config: dict[str, Any], args: list[Any], options: Any) -> Any:
    """Make a back end that reads and writes plain text.

    Flask-Caching calls it, by the name in ``CACHE_TYPE``. A serializer that is set on
    the finished back end would come too late: FileSystemCache counts its files, in a
    file, while it is made.
    """
    kind = config["LLM_CACHE_KIND"]
    made = type(kind.__name__, (kind,), {"serializer": Plain()})
    return made.factory(app, config, args, options)  # type: ignore[attr-defined]
