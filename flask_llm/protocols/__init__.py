"""The providers' wire formats: pure functions from values to JSON and back."""

from flask_llm.protocols import (
    anthropic_messages,
    chat_completions,
    generate_content,
    responses,
)
from flask_llm.protocols.base import Fold, WireProtocol
from flask_llm.protocols.counting import counting, parse_count, render_count
from flask_llm.protocols.embeddings import Caps, EmbeddingFormat, embedding_format

PROTOCOLS: dict[str, WireProtocol] = {
    "chat_completions": chat_completions,
    "responses": responses,
    "anthropic_messages": anthropic_messages,
    "generate_content": generate_content,
}

__all__ = [
    "PROTOCOLS",
    "Caps",
    "EmbeddingFormat",
    "Fold",
    "WireProtocol",
    "counting",
    "embedding_format",
    "parse_count",
    "render_count",
]
