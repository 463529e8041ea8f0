"""The providers' wire formats for batches: pure, as those for answers are."""

from flask_llm.protocols.batches import anthropic, google, openai
from flask_llm.protocols.batches.base import (
    BatchCaps,
    BatchFormat,
    BatchState,
    Requests,
    Result,
)

BATCHES: dict[str, BatchFormat] = {
    "chat_completions": openai,
    "responses": openai,
    "anthropic_messages": anthropic,
    "generate_content": google,
}
"""By the protocol that each prompt of the batch is rendered by."""

__all__ = [
    "BATCHES",
    "BatchCaps",
    "BatchFormat",
    "BatchState",
    "Requests",
    "Result",
]
