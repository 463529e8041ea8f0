"""The whole story of a call: cache, row, slot, provider, price, row."""

from flask_llm.client.client import Client
from flask_llm.client.many import Result, complete_many
from flask_llm.client.stream import Stream

__all__ = ["Client", "Result", "Stream", "complete_many"]
