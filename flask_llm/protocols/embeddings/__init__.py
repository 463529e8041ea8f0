"""The providers' wire formats for embeddings: pure, as those for answers are."""

from __future__ import annotations

from flask_llm.errors import InvalidRequestError
from flask_llm.protocols.embeddings import batch_embed_contents, openai
from flask_llm.protocols.embeddings.base import Caps, EmbeddingFormat
from flask_llm.providers import Provider

EMBEDDINGS: dict[str, EmbeddingFormat] = {
    "chat_completions": openai,
    "responses": openai,
    "generate_content": batch_embed_contents,
}
"""By the protocol that a provider speaks otherwise."""


def embedding_format(provider: Provider) -> EmbeddingFormat:
    """Return the wire format in which a provider is asked for embeddings.

    :raises InvalidRequestError: where it has none.
    """
    found = EMBEDDINGS.get(provider.protocol)
    if found is None:
        raise InvalidRequestError(
            f"{provider.name} has no embeddings. openai, google, mistral and ollama, "
            "for example, have some: name one of their models as model= or in "
            "LLM_EMBED_MODEL.",
            code="no_embeddings",
            param="model",
        )
    return found


__all__ = ["EMBEDDINGS", "Caps", "EmbeddingFormat", "embedding_format"]
