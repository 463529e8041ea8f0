"""POST /v1/embeddings: what a request must look like, and the answer."""

from __future__ import annotations

import base64
import re
from typing import Any

from flask_llm.emulator.dialect import Ask, Call, Problem, RejectedError, Reply, tokens

from .vectors import SIZE, packed, vector

_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_TEXTS = 2_048
_TOKENS = 8_192
_TOKENS_OF_ALL = 300_000


def read(call: Call) -> Ask:
    """Check a request as OpenAI does and say what it asks for."""
    body = call.body
    if not call.model:
        raise _refused("you must provide a model parameter")
    if re.match(r"gpt-|o\d", call.model):
        raise _refused(f"You are not allowed to generate embeddings from {call.model}")
    if call.strict:
        for name in sorted(set(body) - _KNOWN):
            raise _refused(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    texts = _texts(body.get("input"))
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise _refused("Invalid value for 'encoding_format'.", "encoding_format")
    return Ask(
        model=call.model,
        serial=call.serial,
        stream=False,
        input_tokens=sum(tokens(text) for text in texts),
        texts=texts,
        dimensions=_dimensions(call.model, body.get("dimensions")),
        base64=body.get("encoding_format") == "base64",
    )


def whole(ask: Ask, reply: Reply) -> dict[str, Any]:
    """Write the answer."""
    answer: dict[str, Any] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": _embedding(ask, text)}
            for place, text in enumerate(ask.texts)
        ],
        "model": ask.model,
    }
    if reply.usage is not None:
        count = reply.usage.input
        answer["usage"] = {"prompt_tokens": count, "total_tokens": count}
    return answer


def _embedding(ask: Ask, text: str) -> list[float] | str:
    numbers = vector(text, ask.dimensions)
    return base64.b64encode(packed(numbers)).decode() if ask.base64 else numbers


def _texts(given: object) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _refused("'$.input' is invalid. Please check the API reference.")
    if not texts or not all(texts):
        raise _refused("Invalid 'input': input cannot be an empty string.", "input")
    if len(texts) > _TEXTS:
        raise _refused(
            f"Invalid 'input': array too long. Expected an array with maximum length "
            f"{_TEXTS}, but got an array with length {len(texts)} instead.",
            "input",
            "array_above_max_length",
        )
    counts = [tokens(text) for text in texts]
    if max(counts) > _TOKENS:
        raise _refused(
            f"This model's maximum context length is {_TOKENS} tokens, however you "
            f"requested {max(counts)} tokens. Please reduce your prompt.",
        )
    if sum(counts) > _TOKENS_OF_ALL:
        raise _refused(
            f"Requested {sum(counts)} tokens, max {_TOKENS_OF_ALL} tokens per request",
            None,
            "max_tokens_per_request",
        )
    return tuple(texts)


def _dimensions(model: str, given: object) -> int | None:
    if given is None:
        return None
    if model.startswith("text-embedding-ada"):
        raise _refused("This model does not support specifying dimensions.")
    if not isinstance(given, int) or not 1 <= given <= 2 * SIZE:
        raise _refused(f"Invalid value for 'dimensions' = {given}.", "dimensions")
    return given


def _refused(
    message: str, param: str | None = None, code: str | None = None
) -> RejectedError:
    return RejectedError(Problem(status=400, message=message, param=param, code=code))
