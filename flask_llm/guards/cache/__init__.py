"""Answers given before: kept in Flask-Caching, and asked for once at a time."""

from flask_llm.guards.cache.answers import JITTER, AnswerCache
from flask_llm.guards.cache.backends import Backend, backend
from flask_llm.guards.cache.flight import Lead

__all__ = ["JITTER", "AnswerCache", "Backend", "Lead", "backend"]
