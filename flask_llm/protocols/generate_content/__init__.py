"""generateContent: Google's format for Gemini.

Source: https://ai.google.dev/api/generate-content.
"""

from flask_llm.protocols.generate_content.errors import error
from flask_llm.protocols.generate_content.request import (
    FILES,
    UNSIGNED,
    render,
    takes_url,
)
from flask_llm.protocols.generate_content.response import parse
from flask_llm.protocols.generate_content.stream import fold

__all__ = ["FILES", "UNSIGNED", "error", "fold", "parse", "render", "takes_url"]
