"""A provider that answers at once: OpenAI's Chat Completions, made beforehand.

    python tests/benchmarks/provider.py        # prints its port

A base URL of ``http://127.0.0.1:PORT/20/v1`` is answered after 20 ms.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

CHUNKS = 200
"""Pieces of text in a stream."""

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", ""]

PIECES = [f"{WORDS[number % 10]} " for number in range(CHUNKS)]

TEXT = "".join(PIECES)

USAGE = {"prompt_tokens": 128, "completion_tokens": 200, "total_tokens": 328}

HEADERS = (
    "Date: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
    "Server: benchmark\r\n"
    "openai-processing-ms: 391\r\n"
    "x-ratelimit-limit-requests: 10000\r\n"
    "x-ratelimit-limit-tokens: 2000000\r\n"
    "x-ratelimit-remaining-requests: 9999\r\n"
    "x-ratelimit-remaining-tokens: 1999872\r\n"
    "x-ratelimit-reset-requests: 6ms\r\n"
    "x-ratelimit-reset-tokens: 3ms\r\n"
    "x-request-id: req_4f1c6b1ba7ab4ef9b6e3a2f3f1d0a1b2\r\n"
)


def head(content_type: str, framing: str) -> bytes:
    """Write the head of an answer."""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{HEADERS}{framing}\r\n\r\n"
    ).encode()


def answer(kind: str, **fields: Any) -> bytes:
    """Write an answer or a piece of one, with all that OpenAI says beside it."""
    facts = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": kind,
        "created": 1741569952,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_06737a9306",
    }
    return json.dumps(facts | fields, separators=(",", ":")).encode()


def whole() -> bytes:
    """Write a whole answer."""
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = answer("chat.completion", choices=[choice], usage=USAGE)
    return head("application/json", f"Content-Length: {len(body)}") + body


def streamed() -> list[bytes]:
    """Write a stream, event by event, each in a chunk of its own as OpenAI does."""

    def event(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return answer("chat.completion.chunk", choices=[choice], usage=None)

    bodies = [
        event({"role": "assistant", "content": ""}),
        *(event({"content": piece}) for piece in PIECES),
        event({}, "stop"),
        answer("chat.completion.chunk", choices=[], usage=USAGE),
        b"[DONE]",
    ]
    chunks = [b"data: %b\n\n" % body for body in bodies]
    framed = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    begin = head("text/event-stream", "Transfer-Encoding: chunked")
    return [begin, *framed, b"0\r\n\r\n"]


WHOLE, STREAM = [whole()], streamed()


class Connection(asyncio.Protocol):
    """One client's connection: reads requests, and writes what was made beforehand."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: Any = transport
        self._read = b""

    def data_received(self, data: bytes) -> None:
        """Answer the request as soon as it is there."""
        self._read += data
        request, end, body = self._read.partition(b"\r\n\r\n")
        fields = request.lower().split(b"content-length:")
        length = int(fields[1].split(b"\r\n")[0]) if len(fields) > 1 else 0
        if not end or len(body) < length:
            return
        self._read = b""
        is_stream = json.loads(body).get("stream")
        latency_ms = int(request.split(b"/")[1])
        loop = asyncio.get_running_loop()
        pieces = STREAM if is_stream else WHOLE
        loop.call_later(latency_ms / 1000, self._answer, pieces)

    def _answer(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._transport.write(piece)


async def serve() -> None:
    """Answer until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
