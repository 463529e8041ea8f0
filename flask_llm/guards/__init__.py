"""What stands between a call and its provider."""

from flask_llm.guards.attempts import Attempts
from flask_llm.guards.breaker import Breaker
from flask_llm.guards.budgets import Budgets, BudgetState
from flask_llm.guards.cache import AnswerCache, Lead
from flask_llm.guards.counting import Storage
from flask_llm.guards.pacing import Pacing, Slot
from flask_llm.guards.quotas import Quotas, Taken
from flask_llm.guards.shared import Shared
from flask_llm.guards.worst_case import WorstCase, worst_case

__all__ = [
    "AnswerCache",
    "Attempts",
    "Breaker",
    "BudgetState",
    "Budgets",
    "Lead",
    "Pacing",
    "Quotas",
    "Shared",
    "Slot",
    "Storage",
    "Taken",
    "WorstCase",
    "worst_case",
]
