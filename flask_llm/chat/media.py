"""Images and files: bytes, what lies on disk, URLs and providers' file ids."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from flask_llm.errors import InvalidRequestError

PATH_BYTES_MAX = 50 * 1024 * 1024
"""How large a file on disk may be: what OpenAI takes in one request, others less."""

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"%PDF-": "application/pdf",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}


def media_type_of(data: bytes) -> str | None:
    """Tell the kind of some bytes from how they begin; None where that says nothing."""
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    return next(
        (kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None
    )


@dataclass(frozen=True, slots=True)
class Media:
    """Bytes, a URL or a provider's file id: exactly one of them.

    A ``data:`` URL becomes bytes. Other URLs are handed to the provider.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    media_type: str | None = None
    """As in ``image/png``; told from the bytes or the URL's ending when left out."""
    file_id: str | None = None
    fetch: bool = field(default=False, compare=False, kw_only=True)
    """Whether the app fetches the URL itself where the provider does not. It is for
    code to say and never read from dicts, which may come from a browser."""

    def __post_init__(self) -> None:
        given = [self.url, self.data, self.file_id]
        if sum(source is not None for source in given) != 1:
            raise InvalidRequestError(
                f"{type(self).__name__} needs exactly one of url, data and file_id."
            )
        for name, (kind, words) in _KINDS.items():
            value = getattr(self, name, None)
            if value is not None and not isinstance(value, kind):
                raise InvalidRequestError(
                    f"{type(self).__name__}.{name} is {words}, "
                    f"not {type(value).__name__}."
                )
        if self.fetch and self.url is None:
            raise InvalidRequestError(
                f"{type(self).__name__}: fetch=True is for what has a url."
            )
        if self.url is not None and self.url[:5].lower() == "data:":
            self._read_data_url(self.url)
        if self.media_type is None:
            self._set("media_type", self._sniffed())

    @classmethod
    def from_path(
        cls, path: str | Path, *, media_type: str | None = None, **fields: Any
    ) -> Self:
        """Read a file from disk.

        :param path: never one that a stranger has chosen: what it holds is sent.
        :param media_type: told from the bytes, then from the name, when left out.
        :raises InvalidRequestError: where it cannot be read, is no file, is larger
            than 50 MiB, or is of an unknown kind.
        """
        file = Path(path)
        data = _read(file)
        kind = media_type or media_type_of(data) or mimetypes.guess_type(file.name)[0]
        if kind is None:
            raise InvalidRequestError(
                f"{file} is of an unknown kind; say media_type='text/plain' or "
                "whatever it is."
            )
        return cls(data=data, media_type=kind, **fields)

    def fetched(self, data: bytes) -> Self:
        """Return the same with the bytes that the URL led to, of the kind they are."""
        kind = media_type_of(data) or self.media_type
        return replace(self, url=None, data=data, media_type=kind, fetch=False)

    @property
    def data_url(self) -> str:
        """The bytes as a ``data:`` URL, or the plain URL where there are none."""
        if self.data is None:
            return self.url or ""
        return f"data:{self.media_type};base64,{self.base64}"

    @property
    def base64(self) -> str:
        """The bytes in base64."""
        return base64.b64encode(self.data or b"").decode()

    def _read_data_url(self, url: str) -> None:
        head, comma, body = url[len("data:") :].partition(",")
        kind, *flags = head.split(";")
        try:
            raw = unquote_to_bytes(body)
            data = base64.b64decode(raw, validate=True) if "base64" in flags else raw
        except binascii.Error as error:
            comma = ""
            cause: Exception | None = error
        else:
            cause = None
        if not comma:
            raise InvalidRequestError("A data: URL could not be decoded.") from cause
        self._set("url", None)
        self._set("data", data)
        self._set("media_type", self.media_type or kind or None)
        self._set("fetch", value=False)

    def _sniffed(self) -> str | None:
        if self.data is not None:
            found = media_type_of(self.data)
            if found is not None:
                return found
            raise InvalidRequestError(
                f"{type(self).__name__}: the bytes are of an unknown kind; "
                "say media_type='image/png' or whatever they are."
            )
        path = re.split(r"[?#]", self.url or "")[0]
        return mimetypes.guess_type(path)[0]

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _source(self) -> dict[str, Any]:
        known = {
            "url": self.url,
            "data": self.base64 if self.data is not None else None,
            "media_type": self.media_type,
            "file_id": self.file_id,
        }
        return {name: value for name, value in known.items() if value is not None}


_KINDS = {
    "url": (str, "a string"),
    "data": (bytes, "bytes"),
    "media_type": (str, "a string"),
    "file_id": (str, "a string"),
    "fetch": (bool, "True or False"),
    "detail": (str, "a string"),
    "filename": (str, "a string"),
}


@dataclass(frozen=True, slots=True)
class Image(Media):
    """A picture for the model to look at."""

    detail: str | None = None
    """How closely OpenAI's models look: ``low``, ``high``, ``auto``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON, as :func:`part_from_dict` reads it back."""
        detail = {"detail": self.detail} if self.detail else {}
        return {"type": "image"} | self._source() | detail


@dataclass(frozen=True, slots=True)
class File(Media):
    """A document, usually a PDF, for the model to read."""

    filename: str | None = None
    """What the model is told that it is called; from a path, the file's own name."""

    @classmethod
    def from_path(
        cls, path: str | Path, *, media_type: str | None = None, **fields: Any
    ) -> Self:
        """Read a file from disk; see :meth:`Media.from_path`."""
        named = {"filename": Path(path).name} | fields
        # The two-argument form: slots make a new class, which super() does not know.
        return super(File, cls).from_path(path, media_type=media_type, **named)

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON, as :func:`part_from_dict` reads it back."""
        name = {"filename": self.filename} if self.filename else {}
        return {"type": "file"} | self._source() | name


def _read(file: Path) -> bytes:
    if file.exists() and not file.is_file():
        raise InvalidRequestError(f"{file} is a directory, or no ordinary file.")
    try:
        with file.open("rb") as opened:
            data = opened.read(PATH_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidRequestError(f"{file} could not be read: {why}.") from error
    if len(data) > PATH_BYTES_MAX:
        raise InvalidRequestError(
            f"{file} is larger than {PATH_BYTES_MAX // 2**20} MiB; upload it to the "
            "provider and give its file_id."
        )
    return data
