"""Ids of tool calls that go from one provider to another."""

from __future__ import annotations

import hashlib
import re

_LONG = r"[A-Za-z0-9_-]{1,40}"
_SHORT = r"[A-Za-z0-9]{9}"


class ToolIds:
    """The ids of tool calls as providers take them, alike in call and result.

    Ids from elsewhere may have letters that one refuses, be too long, or come twice:
    made-up ones begin anew with each answer.

    :param short: the provider takes nine letters and digits, and nothing else.
    """

    def __init__(self, *, short: bool = False) -> None:
        self._short = short
        self._sent: dict[str, str] = {}
        self._used: set[str] = set()

    def keep(self, call_id: str) -> None:
        """Take note of a call that goes back as it came."""
        self._sent[call_id] = call_id
        self._used.add(call_id)

    def call(self, call_id: str) -> str:
        """Return the id to send for a call."""
        fits = re.fullmatch(_SHORT if self._short else _LONG, call_id)
        sent, number = call_id, len(self._used)
        if not fits or call_id in self._used:
            digest = hashlib.sha256(f"{call_id} {number}".encode(errors="replace"))
            made = digest.hexdigest()
            sent = made[:9] if self._short else f"call_{made[:32]}"
        self._sent[call_id] = sent
        self._used.add(sent)
        return sent

    def result(self, call_id: str) -> str:
        """Return the id to send for the result of the latest call of that id."""
        return self._sent.get(call_id) or self.call(call_id)
