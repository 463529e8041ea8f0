"""What stands between a call and its provider."""

from flask_llm.guards.cache import AnswerCache
from flask_llm.guards.pacing import Pacing, Slot

__all__ = ["AnswerCache", "Pacing", "Slot"]
