"""Batches: handed over in one process, looked at and fetched in any other."""

from flask_llm.client.batches.answers import Answer
from flask_llm.client.batches.batches import Batches
from flask_llm.client.batches.talk import Terms

__all__ = ["Answer", "Batches", "Terms"]
