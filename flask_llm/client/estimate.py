"""What a call would take: reckoned here, or counted by the provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask_llm import encodings, tokens
from flask_llm.chat import Estimate, Prompt
from flask_llm.client.files import check_given, rendered
from flask_llm.client.gate import Gate
from flask_llm.client.job import Job
from flask_llm.errors import LLMError
from flask_llm.guards import worst_case
from flask_llm.pricing import Prices
from flask_llm.protocols import counting, parse_count, render_count
from flask_llm.providers import Providers
from flask_llm.retry import Deadline
from flask_llm.transport import Transport
from flask_llm.wire import Call

_TIKTOKEN = ("openai", "azure")
"""Whose models tiktoken knows; elsewhere a name of theirs may mean another model."""


class Estimator:
    """Says what calls would take, without making them.

    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        providers: Providers,
        transport: Transport,
        gate: Gate,
        prices: Prices,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._providers = providers
        self._transport = transport
        self._gate = gate
        self._prices = prices
        self._clock = clock

    def estimate(self, prompt: Prompt, *, count: bool) -> Estimate:
        """Say what one request would take.

        :param count: have the provider count its tokens.
        :raises LLMError: where it does not.
        """
        provider = self._providers.serving(prompt)
        call, _ = rendered(prompt, provider, streamed=False)
        if count:
            source, counted = "provider", self._count(prompt)
        else:
            source, counted = _reckoned(prompt, call)
        worst = worst_case(prompt, call.body, input_tokens=counted)
        cap = worst.output_tokens
        return Estimate(
            model=prompt.full_model,
            input_tokens=counted,
            max_output_tokens=cap,
            input_cost_usd=worst.cost(self._prices, 0).usd,
            max_cost_usd=None if cap is None else worst.cost(self._prices, cap).usd,
            source=source,
        )

    def _count(self, prompt: Prompt) -> int:
        provider = counting(self._providers[prompt.provider])
        check_given(prompt, provider, "estimate(count=True)")
        whole = Deadline(prompt.timeout, clock=self._clock)
        job = Job(
            prompt=prompt,
            provider=provider,
            call=render_count(prompt, provider),
            started=self._clock(),
            whole=whole,
            retry=self._transport.retry(prompt.retries, whole),
        )
        with _unwritten(job, self._gate):
            reply = self._transport.send(job.call, job.provider, job.retry)
            return parse_count(reply.json)


def _reckoned(prompt: Prompt, call: Call) -> tuple[str, int]:
    known = prompt.provider in _TIKTOKEN
    measure = encodings.measure(prompt.model) if known else None
    if measure is None:
        return "bound", tokens.input_ceiling(prompt, call.body)
    return "tiktoken", tokens.input_ceiling(prompt, call.body, measure)


@contextmanager
def _unwritten(job: Job, gate: Gate) -> Iterator[None]:
    """Let a request through the gate that costs nothing, and leaves no row.

    A row is a call of a model: this is none, and would stand in every average.
    """
    try:
        gate.wait(job, tokens_expected=0)
        yield
    except BaseException as error:
        gate.leave(job, error=error)
        if isinstance(error, LLMError):
            error.provider, error.model = job.provider.name, job.prompt.full_model
            error.attempts = job.attempts
        raise
    gate.leave(job)
