"""Every ``LLM_`` key of ``app.config``: its default, its check, what it means."""

from flask_llm.settings.keys import Keys
from flask_llm.settings.readers import PROTOCOLS, url
from flask_llm.settings.rows import ProviderSettings
from flask_llm.settings.rules import Budget, Quota
from flask_llm.settings.settings import Settings

__all__ = [
    "PROTOCOLS",
    "Budget",
    "Keys",
    "ProviderSettings",
    "Quota",
    "Settings",
    "url",
]
