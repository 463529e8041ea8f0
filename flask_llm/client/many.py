"""Several prompts side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from contextvars import copy_context

from flask_llm.chat import Completion, Prompt
from flask_llm.client.client import Client
from flask_llm.errors import LLMError

Result = Completion | LLMError
"""What became of one prompt."""


def complete_many(
    client: Client,
    prompts: Sequence[Prompt | LLMError],
    *,
    workers: int,
    context: Callable[[], AbstractContextManager[object]],
    on_result: Callable[[int, Result], object] | None = None,
) -> list[Result]:
    """Ask all prompts, a few at a time, and return the results in their order.

    Each prompt's own deadline begins when its turn comes.

    :param prompts: those that could not be read are given as their errors.
    :param workers: threads; more than the provider's slots would only wait.
    :param context: entered by each thread: the app's.
    :param on_result: called in this thread with each index and result as it comes.
    """

    def ask(prompt: Prompt | LLMError) -> Result:
        if isinstance(prompt, LLMError):
            return prompt
        try:
            with context():
                return client.complete(prompt)
        except LLMError as error:
            return error

    executor = ThreadPoolExecutor(workers, thread_name_prefix="flask_llm")
    try:
        futures = [executor.submit(copy_context().run, ask, each) for each in prompts]
        places = {future: place for place, future in enumerate(futures)}
        for future in as_completed(futures):
            if on_result:
                on_result(places[future], future.result())
        return [future.result() for future in futures]
    finally:
        executor.shutdown(cancel_futures=True)
