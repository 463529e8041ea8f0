"""The values that pass between the emulator and its wire formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it arrived, before any format has looked into it."""

    model: str
    stream: bool
    version: str
    """``v1`` or ``v1beta``."""
    verb: str
    """Google's part of the path after the colon; empty for the others."""
    headers: Mapping[str, str]
    """Names in lower case."""
    query: Mapping[str, str]
    body: dict[str, Any]
    serial: int
    """1 for the first request an emulator sees; ids are made of it."""
    strict: bool = True
    """Whether parameters that the provider does not know are refused."""
    readable: bool = True
    """Whether the body was a JSON object."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that the request offers."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a request asks for, in words that belong to no provider."""

    model: str
    serial: int
    stream: bool
    input_tokens: int
    user_text: str = ""
    """The last words of the user."""
    tool_result: str | None = None
    """What the tool answered, when the last message is its answer."""
    max_tokens: int | None = None
    tools: tuple[Offer, ...] = ()
    """Empty as well when the request forbids calling any."""
    must_call: bool = False
    """Whether one of ``tools`` has to be called."""
    schema: dict[str, Any] | None = None
    thinks: bool = False
    """Whether reasoning is to be shown."""
    thinks_silently: bool = False
    """Whether reasoning is billed but not shown."""
    include_usage: bool = True
    texts: tuple[str, ...] = ()
    """What is to be embedded."""
    dimensions: int | None = None
    base64: bool = False
    """Whether vectors are asked for as bytes."""
    sse: bool = True
    """Google streams one JSON array unless asked for server-sent events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Tokens: ``input`` and ``output`` are totals, the others are parts of them."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    """Of ``cache_write``: kept for an hour, as Anthropic tells."""
    reasoning: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call the model makes; ``arguments`` is text that may fail to parse."""

    id: str | None
    name: str
    arguments: str

    @property
    def parsed(self) -> Any:
        """The arguments as a value, or the text itself where it is not JSON."""
        try:
            return json.loads(self.arguments)
        except ValueError:
            return self.arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, complete and ready to be written in any format."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    refusal: str
    finish_reason: str
    usage: Counts | None
    chunks: int | Sequence[str] | None
    interval_seconds: float

    def pieces(self, text: str) -> list[str]:
        """Cut a text as a stream delivers it: word by word, or as ``chunks`` says."""
        if not isinstance(self.chunks, int):
            own = list(self.chunks or ())
            return own if "".join(own) == text else re.findall(r"\S+\s*|\s+", text)
        count = max(1, min(self.chunks, len(text)))
        edges = [len(text) * number // count for number in range(count + 1)]
        return [text[a:b] for a, b in pairwise(edges) if b > a]


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of a stream; ``paced`` ones wait for the answer's interval."""

    data: bytes
    paced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error that a format writes its own way; ``None`` is the format's default."""

    status: int | None = None
    message: str | None = None
    type: str | None = None
    code: str | None = None
    """Empty for an error that has none where others of its status do."""
    param: str | None = None
    out_of_quota: bool = False
    retry_info_seconds: float | None = None


class RejectedError(Exception):
    """A request that the provider would refuse; holds the :class:`Problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A wire format: how to read a request and write what comes back. All pure."""

    key: Callable[[Call], str]
    """The API key a request brought, or an empty string."""
    read: Callable[[Call], Ask]
    """Check a request as the provider would; raise :class:`RejectedError`."""
    whole: Callable[[Ask, Reply], dict[str, Any]]
    events: Callable[[Ask, Reply], list[Frame]]
    error: Callable[[int, Problem], tuple[int, dict[str, Any]]]
    """The status and the body of an error, for the request with this number."""
    error_event: Callable[[Ask, Problem], bytes]
    """The same error inside a stream that began with status 200."""
    headers: Callable[[int], dict[str, str]]
    wrong_key: Problem
    malformed: Problem
    """What a body that is not JSON gets."""
    stream_type: str = "text/event-stream; charset=utf-8"
    json_type: str = "application/json"


def dumps(value: object) -> str:
    """Write JSON as providers do: compact, and text as itself, not as escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dicts(value: object) -> list[dict[str, Any]]:
    """Take the objects of a JSON list; nothing if it is no list."""
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def mapping(value: object) -> dict[str, Any]:
    """Take a JSON object, and an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def tokens(text: str) -> int:
    """Estimate tokens at four characters each."""
    return -(-len(text) // 4)


_NOT_PROSE = frozenset(
    {"data", "url", "file_data", "image_url", "signature", "thoughtSignature", "type"}
)


def count_tokens(*values: object) -> int:
    """Estimate the tokens of all texts in JSON values, leaving out encoded files."""
    return sum(_characters(value) for value in values) // 4 + 1


def _characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(_characters(item) for item in value)
    if isinstance(value, dict):
        kept = (item for name, item in value.items() if name not in _NOT_PROSE)
        return sum(_characters(item) for item in kept)
    return 0


def text_of(content: object) -> str:
    """Take the text of a message: a string, or the parts that hold text."""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in dicts(content))
    return " ".join(text for text in texts if isinstance(text, str))
