"""How a call ended, in the words of its row."""

from __future__ import annotations

from typing import Any

from flask_llm.chat import Completion, Embeddings
from flask_llm.client.job import Job
from flask_llm.errors import LimitError, LLMError, ProviderError
from flask_llm.pricing import Cost
from flask_llm.retry import NEVER_CAME


def finish_reason(answer: Completion | Embeddings) -> str | None:
    """Return why an answer ended; vectors have no end of their own."""
    return answer.finish_reason if isinstance(answer, Completion) else None


def spent(completion: Completion | Embeddings, cost: Cost) -> dict[str, Any]:
    """Return what an answer used and cost."""
    return {
        "usage": completion.usage,
        "cost_nanos": cost.nanos,
        "prompt_saved_nanos": cost.prompt_saved_nanos,
        "cost_source": cost.source,
        "served_model": completion.served_model,
        "service_tier": completion.service_tier,
        "finish_reason": finish_reason(completion),
    }


def complaint(error: BaseException) -> dict[str, Any]:
    """Return what is to be known of an error."""
    code = getattr(error, "code", None)
    number = getattr(error, "status", None)
    return {
        # Exceptions of others have codes of their own: SystemExit's is a number.
        "error_code": code if code and isinstance(code, str) else type(error).__name__,
        "error_status": number if isinstance(number, int) else None,
        "provider_request_id": getattr(error, "provider_request_id", None),
    }


def may_be_billed(error: BaseException) -> bool:
    """Tell whether a provider may bill a request that ended so, tokens unknown."""
    if not isinstance(error, ProviderError):
        return True
    return error.status is None and error.code not in NEVER_CAME


def status(job: Job, error: BaseException) -> str:
    """Return ``refused``, ``failed`` or ``cancelled``."""
    if isinstance(error, LimitError) or (isinstance(error, LLMError) and not job.sent):
        return "refused"
    return "failed" if isinstance(error, Exception) else "cancelled"
