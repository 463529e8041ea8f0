"""Responses: OpenAI's newer format, without its memory of conversations.

Source: https://platform.openai.com/docs/api-reference/responses.
"""

from flask_llm.protocols.responses.errors import error
from flask_llm.protocols.responses.request import render, takes_url
from flask_llm.protocols.responses.response import parse
from flask_llm.protocols.responses.stream import fold

__all__ = ["error", "fold", "parse", "render", "takes_url"]
