"""Messages: Anthropic's format.

Source: https://platform.claude.com/docs/en/api/messages.
"""

from flask_llm.protocols.anthropic_messages.errors import error
from flask_llm.protocols.anthropic_messages.request import (
    MAX_TOKENS,
    SAMPLING_VERSION,
    VERSION,
    render,
    takes_url,
)
from flask_llm.protocols.anthropic_messages.response import parse
from flask_llm.protocols.anthropic_messages.stream import fold

__all__ = [
    "MAX_TOKENS",
    "SAMPLING_VERSION",
    "VERSION",
    "error",
    "fold",
    "parse",
    "render",
    "takes_url",
]
