"""Chat Completions: OpenAI's older format, and what every compatible server speaks.

Source: https://platform.openai.com/docs/api-reference/chat, and the servers' own
references for where they differ.
"""

from flask_llm.protocols.chat_completions.errors import error
from flask_llm.protocols.chat_completions.request import render, takes_url
from flask_llm.protocols.chat_completions.response import parse
from flask_llm.protocols.chat_completions.stream import fold

__all__ = ["error", "fold", "parse", "render", "takes_url"]
