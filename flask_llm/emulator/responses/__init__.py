"""OpenAI's Responses, without storage."""

from dataclasses import replace

from flask_llm.emulator.chat_completions import CHAT_COMPLETIONS

from .answer import whole
from .events import error_event, events
from .request import read

__all__ = ["RESPONSES"]

RESPONSES = replace(
    CHAT_COMPLETIONS, read=read, whole=whole, events=events, error_event=error_event
)
