"""Embeddings, from the wire and from the cache."""

import contextlib
import json

from flask_llm.errors import ResponseError
from flask_llm.guards.cache import texts
from flask_llm.protocols.embeddings import EMBEDDINGS
from fuzz import common

_OPENAI = {
    "data": [{"index": 0, "embedding": [0.5, -1]}],
    "usage": {"prompt_tokens": 3},
}
SEEDS = common.seeds(
    _OPENAI,
    {"data": [{"embedding": "AACAPwAAAEA="}], "model": "m"},
    {"embeddings": [{"values": [0.25, 1e3]}], "usageMetadata": {"totalTokenCount": 4}},
)


def check(data):
    """Vectors are finite and of one length, or the answer is called unreadable."""
    raw = common.load(data)
    for form in EMBEDDINGS.values():
        with contextlib.suppress(ResponseError):
            found = form.parse(raw, 1)
            json.dumps(found.to_dict(), allow_nan=False)
            assert texts.as_kept(found) is not None
