"""Rows that could not be written, kept in a file until the database is back."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

SIZE_MAX_BYTES = 16 * 1024 * 1024

CLAIM_SECONDS = 600.0
"""After which a claim is taken for that of a process that died."""

logger = logging.getLogger("flask_llm")


class Journal:
    """A bounded file of JSON lines, appended by any thread or process.

    :param path: the file; made when it is first needed.
    """

    def __init__(self, path: str | Path, *, size_max: int = SIZE_MAX_BYTES) -> None:
        self.path = Path(path)
        self.size_max = size_max

    def __bool__(self) -> bool:
        return self.path.exists() or any(self._claimed())

    def append(self, row: Mapping[str, Any]) -> None:
        """Keep a row; a full or unwritable file is logged and nothing else."""
        line = json.dumps(row, default=_moment, separators=(",", ":"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Where it was claimed meanwhile, that may have been without this line.
            while not self._add(line.encode() + b"\n"):
                pass
        except OSError as error:
            logger.error(  # noqa: TRY400 - what matters is the row
                "The usage journal cannot be written (%s); lost: %s", error, line
            )

    def _add(self, line: bytes) -> bool:
        """Append to the file; tell whether it is still there afterwards."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line  # a full disk has cut the one before it short
            if size + len(line) > self.size_max:
                raise OSError(errno.EFBIG, "it is full")
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, "the disk is full")
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False
        finally:
            os.close(handle)

    def replay(self, write: Callable[[dict[str, Any]], object]) -> int:
        """Hand every kept row to ``write`` and return how many there were.

        The file is renamed first, so that no two processes replay it; what a process
        that died had claimed is claimed again. Where ``write`` fails, the rows not yet
        written stay for the next replay; where even the disk is full, all of them do,
        so that ``write`` may get a row a second time.

        :raises Exception: what ``write`` raised.
        """
        return sum(self._replay(claimed, write) for claimed in self._claims())

    def _claims(self) -> Iterator[Path]:
        """Rename the file, and those left behind, to names that only we know."""
        now = time.time()
        for left in self._claimed():
            with contextlib.suppress(OSError):
                if now - left.stat().st_mtime > CLAIM_SECONDS:
                    yield self._claim(left)
        with contextlib.suppress(FileNotFoundError):
            yield self._claim(self.path)

    def _claim(self, path: Path) -> Path:
        name = f"{self.path.name}.{os.getpid()}-{os.urandom(6).hex()}.claim"
        os.utime(path)
        return path.rename(self.path.with_name(name))

    def _claimed(self) -> Iterator[Path]:
        """Find the files that were claimed and not yet written to the end."""
        return self.path.parent.glob(f"{self.path.name}.*.claim")

    def _replay(self, claimed: Path, write: Callable[[dict[str, Any]], object]) -> int:
        lines = claimed.read_bytes().splitlines()
        read = written = 0
        try:
            for line in lines:
                if row := _row(line):
                    write(row)
                    written += 1
                read += 1
        except BaseException:
            self._put_back(claimed, lines[read:])
            raise
        claimed.unlink(missing_ok=True)
        return written

    def _put_back(self, claimed: Path, lines: list[bytes]) -> None:
        """Leave a claim to the next replay, if possible with what is left alone."""
        rest = claimed.with_suffix(".rest")
        try:
            rest.touch(0o600)
            rest.write_bytes(b"".join(line + b"\n" for line in lines))
            rest.replace(claimed)
        except OSError:
            rest.unlink(missing_ok=True)
        try:
            self.path.hardlink_to(claimed)
            claimed.unlink()
        except OSError:  # a new file was begun meanwhile
            with contextlib.suppress(OSError):
                os.utime(claimed, (0, 0))


def _row(line: bytes) -> dict[str, Any] | None:
    """Read a line; one that a full disk cut short is logged and left out."""
    try:
        row: dict[str, Any] = json.loads(line)
        for name, value in row.items():
            if name.endswith("_at") and value is not None:
                row[name] = datetime.fromisoformat(value)
    except (AttributeError, TypeError, ValueError):
        logger.error(  # noqa: TRY400 - what matters is the line
            "A line of the usage journal cannot be read; lost: %r", line
        )
        return None
    return row


def _moment(value: Any) -> str:
    return str(value.isoformat())
