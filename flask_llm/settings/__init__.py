"""Every ``LLM_`` key of ``app.config``: its default, its check, what it means."""

from flask_llm.settings.readers import PROTOCOLS, Keys, url
from flask_llm.settings.rows import ProviderSettings
from flask_llm.settings.settings import Settings

__all__ = ["PROTOCOLS", "Keys", "ProviderSettings", "Settings", "url"]
