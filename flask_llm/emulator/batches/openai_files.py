"""OpenAI's files, as far as batches need them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MONTH_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that was uploaded, or that a batch has written."""

    id: str
    owner: str
    name: str
    purpose: str
    created: int
    content: bytes
    batch: str = ""
    """The batch that wrote it."""

    def shown(self) -> dict[str, Any]:
        """Write a ``file`` object."""
        expires = self.created + _MONTH_SECONDS if self.batch else None
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created,
            "expires_at": expires,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class Files:
    """Files in memory, under one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, File] = {}
        self._written: set[str] = set()
        self._made = 0

    def number(self) -> int:
        """Count one more upload; returns its number, from 1."""
        with self._lock:
            self._made += 1
            return self._made

    def put(self, file: File) -> None:
        """Keep a file."""
        with self._lock:
            self._files[file.id] = file

    def write_once(self, ident: str, write: Callable[[], File]) -> None:
        """Keep a file unless it was written before, though it be gone by now."""
        with self._lock:
            if ident not in self._written:
                self._written.add(ident)
                self._files[ident] = write()

    def get(self, owner: str, ident: str) -> File | None:
        """Find a file of this owner."""
        with self._lock:
            file = self._files.get(ident)
        return file if file is not None and file.owner == owner else None

    def remove(self, owner: str, ident: str) -> bool:
        """Forget a file; whether the owner had it."""
        with self._lock:
            file = self._files.get(ident)
            if file is None or file.owner != owner:
                return False
            del self._files[ident]
            return True

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._files.clear()
            self._written.clear()
