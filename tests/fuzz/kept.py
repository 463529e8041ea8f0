"""Answers that a cache hands back: it may be shared, and hold anything."""

from flask_llm.chat import Completion, Text, Usage
from flask_llm.guards.cache import texts

SEEDS = [
    texts.write(
        Completion(content=(Text("Hello"),), finish_reason="stop", usage=Usage())
    ).encode(),
    (
        b'{"vectors": ["AACAPw=="], "usage": {"source": "provider"}, "cost_usd": "1.5",'
        b' "served_model": null, "service_tier": null}'
    ),
]


def check(data):
    """What is none of ours is no answer; what is one, is written as it was read."""
    found = texts.read(data.decode("utf-8", "surrogateescape"))

    assert found is None or texts.as_kept(found) == found
