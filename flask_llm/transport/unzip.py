"""Bodies that come compressed though nobody asked for that."""

from __future__ import annotations

import zlib

from flask_llm.transport.addresses import RefusedError

_WRONGLY = "sent a body that is wrongly compressed"


class Unzip:
    """Undoes a body's ``Content-Encoding``, never by more than there is room for.

    :param coding: the header, None where there is none.
    :raises RefusedError: where it is one that is not known here.
    """

    def __init__(self, coding: str | None) -> None:
        name = (coding or "identity").strip().lower()
        if name not in {"identity", "gzip", "x-gzip", "deflate"}:
            raise RefusedError("sent a body that is compressed in an unknown way")
        # Either header is known by its first bytes.
        either = zlib.MAX_WBITS | 32
        self._inflate = None if name == "identity" else zlib.decompressobj(either)

    def feed(self, block: bytes, room: int) -> bytes:
        """Return what a block stands for, cut off after ``room`` bytes of it.

        What comes after the end is refused: zlib would keep all of it, and copy it
        with each block.

        :raises RefusedError: where it is wrongly compressed.
        """
        if self._inflate is None:
            return block
        try:
            data = self._inflate.decompress(block, room)
        except zlib.error:
            raise RefusedError(_WRONGLY) from None
        if self._inflate.unused_data:
            raise RefusedError(_WRONGLY)
        return data

    def close(self) -> None:
        """See that the end has come.

        :raises RefusedError: where it has not.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise RefusedError(_WRONGLY)
