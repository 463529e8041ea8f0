"""The whole story of a call: cache, row, slot, provider, price, row."""

from flask_llm.client.batches import Batches
from flask_llm.client.client import Client
from flask_llm.client.many import Result, complete_many
from flask_llm.client.stream import Stream
from flask_llm.client.tools import Approve, ToolLoop

__all__ = [
    "Approve",
    "Batches",
    "Client",
    "Result",
    "Stream",
    "ToolLoop",
    "complete_many",
]
