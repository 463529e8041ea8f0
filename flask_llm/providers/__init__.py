"""The table of providers: where each one lives, how it is asked, what it does its way.

A provider that speaks a known protocol is one row in ``table.py``, or one in
``LLM_PROVIDERS``.
"""

from flask_llm.providers.openai import is_reasoning, prompt_cache
from flask_llm.providers.provider import Provider
from flask_llm.providers.providers import Providers
from flask_llm.providers.quirks import ECHOED, Quirks
from flask_llm.providers.table import BUILT_IN

__all__ = [
    "BUILT_IN",
    "ECHOED",
    "Provider",
    "Providers",
    "Quirks",
    "is_reasoning",
    "prompt_cache",
]
