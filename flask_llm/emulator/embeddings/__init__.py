"""Embeddings: OpenAI's, and Google's one by one or in batches."""

from dataclasses import replace

from flask_llm.emulator.chat_completions import CHAT_COMPLETIONS
from flask_llm.emulator.generate_content import GENERATE_CONTENT

from . import google, openai

__all__ = ["EMBEDDINGS", "EMBED_CONTENT"]

EMBEDDINGS = replace(CHAT_COMPLETIONS, read=openai.read, whole=openai.whole)

EMBED_CONTENT = {
    "embedContent": replace(
        GENERATE_CONTENT, read=google.read_one, whole=google.whole_one
    ),
    "batchEmbedContents": replace(
        GENERATE_CONTENT, read=google.read_batch, whole=google.whole_batch
    ),
}
"""Google's, by verb."""
