"""The tool loop: the model asks for tools, they are run, it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import replace
from itertools import chain, takewhile

from flask_llm.chat import (
    Completion,
    Message,
    Prompt,
    ToolCall,
    ToolResult,
    tool_output,
)
from flask_llm.client.client import Client
from flask_llm.errors import (
    DeadlineExceeded,
    InvalidRequestError,
    LLMError,
    RoundsExceeded,
)
from flask_llm.protocols.base import joined
from flask_llm.schema import check, problems, relaxed

WORKERS = 8
"""Threads for the calls of one round."""

Approve = Callable[[ToolCall], bool | str]
"""Whether a call may be run; a string refuses it and says why."""

logger = logging.getLogger("flask_llm")


class ToolLoop:
    """One question and all the rounds that its answer takes.

    No tool runs twice: what has run stands in the history, and other models stand in
    for the first request only.

    :param workers: threads; 1 runs the calls in the thread of the caller.
    :param context: entered by each thread: the app's.
    :raises InvalidRequestError: where a tool has no function, or a schema that cannot
        be checked.
    """

    def __init__(
        self,
        client: Client,
        prompt: Prompt,
        *,
        approve: Approve | None,
        workers: int | None,
        context: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._client = client
        self._prompt = prompt
        self._approve = approve
        self._workers = workers or WORKERS
        self._context = context
        self._tools = {tool.name: tool for tool in prompt.tools}
        self._rounds: list[Completion] = []
        self._files: dict[str, bytes] = {}
        _check_tools(prompt)

    def run(self, max_rounds: int) -> Completion:
        """Go on until the model stops asking for tools, and through its pauses.

        :raises RoundsExceeded: where it does not.
        """
        self._deadline = self._client.deadline(self._prompt)
        try:
            while len(self._rounds) < max_rounds:
                answer = self._ask()
                if _pauses(answer):
                    self._append(answer)
                elif answer.finish_reason != "tool_calls" or not answer.tool_calls:
                    return self._whole(answer)
                elif len(self._rounds) < max_rounds:
                    self._serve(answer)
        except LLMError as error:
            self._tell(error)
            raise
        raise self._endless()

    def _ask(self) -> Completion:
        before = self._rounds[0].request_id if self._rounds else None
        answer = self._client.complete(
            self._prompt, whole=self._deadline, first_id=before, files=self._files
        )
        self._rounds.append(answer)
        if answer.model != self._prompt.full_model:
            self._prompt = self._client.instead(self._prompt, answer.model)
        return answer

    def _whole(self, answer: Completion) -> Completion:
        """Return the last answer with what all of them used and the history.

        What was said before a pause is the answer's beginning.
        """
        said = () if answer.tool_calls else (answer.to_message(),)
        whole = answer.after(self._rounds[:-1])
        begun = [*takewhile(_pauses, reversed(self._rounds[:-1]))]
        pieces = [before.content for before in (*reversed(begun), answer)]
        return replace(
            whole,
            content=joined(chain(*pieces)) if begun else answer.content,
            messages=(*self._prompt.messages, *said),
        )

    def _append(self, answer: Completion, *results: Message) -> None:
        """Put an answer into the history, and what tools said to it."""
        self._prompt = replace(
            self._prompt,
            messages=(*self._prompt.messages, answer.to_message(), *results),
            fallbacks=(),
        )

    def _endless(self) -> RoundsExceeded:
        last = self._rounds[-1]
        whole = last.after(self._rounds[:-1])
        return RoundsExceeded(
            f"The model had not come to its answer after {len(self._rounds)} rounds: "
            "max_rounds lets it go on.",
            provider=last.provider,
            model=last.model,
            request_id=last.request_id,
            attempts=whole.attempts,
            usage=whole.usage,
            cost_usd=whole.cost_usd,
            completion=last,
            messages=self._prompt.messages,
        )

    def _tell(self, error: LLMError) -> None:
        """Add to an error what was used before it, and the history so far."""
        if not self._rounds:
            return
        error.messages = self._prompt.messages
        if error.usage is None:
            whole = self._rounds[-1].after(self._rounds[:-1])
        else:
            own = Completion(usage=error.usage, cost_usd=error.cost_usd)
            whole = own.after(self._rounds)
        error.usage, error.cost_usd = whole.usage, whole.cost_usd

    def _serve(self, answer: Completion) -> None:
        """Run what an answer asks for, and put it into the history.

        :raises DeadlineExceeded: where a tool takes too long.
        """
        calls = answer.tool_calls
        refusals = [self._refusal(call) for call in calls]
        runs = self._run(
            [call for call, refusal in zip(calls, refusals, strict=True) if not refusal]
        )
        results = [
            ToolResult(call.id, refusal, call.name, is_error=True)
            if refusal
            else next(runs)
            for call, refusal in zip(calls, refusals, strict=True)
        ]
        self._append(answer, Message("tool", results))
        if self._prompt.tool_choice not in {None, "auto", "none"}:
            # Else the model would be forced to call it for ever.
            self._prompt = replace(self._prompt, tool_choice=None)
        if self._deadline.remaining() <= 0:
            raise DeadlineExceeded(
                "No time was left after the tools had run: timeout counts for all "
                "rounds and the tools in them.",
                provider=answer.provider,
                model=answer.model,
                request_id=answer.request_id,
            )

    def _refusal(self, call: ToolCall) -> str | None:
        """Return what the model is told in place of a result."""
        tool = self._tools.get(call.name)
        if tool is None:
            return f"There is no tool {call.name!r}, only {', '.join(self._tools)}."
        if not call.valid:
            return "The arguments are no JSON object."
        wrong = problems(relaxed(call.arguments, tool.parameters), tool.parameters)
        if wrong:
            return "The arguments do not fit the schema:\n" + "\n".join(wrong)
        verdict = self._approve(call) if self._approve else True
        if verdict is True:
            return None
        reason = verdict if isinstance(verdict, str) else ""
        return reason or "The call was not approved."

    def _run(self, calls: Sequence[ToolCall]) -> Iterator[ToolResult]:
        if self._workers == 1:
            return iter([self._result(call) for call in calls])
        executor = ThreadPoolExecutor(
            max(1, min(self._workers, len(calls))), thread_name_prefix="flask_llm_tool"
        )
        try:
            futures = [
                executor.submit(copy_context().run, self._in_context, call)
                for call in calls
            ]
            wait(futures, timeout=self._deadline.remaining())
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        return iter(list(map(_outcome, futures, calls)))

    def _in_context(self, call: ToolCall) -> ToolResult:
        with self._context():
            return self._result(call)

    def _result(self, call: ToolCall) -> ToolResult:
        tool = self._tools[call.name]
        try:
            text, media = tool_output(
                tool.run(relaxed(call.arguments, tool.parameters))
            )
        except Exception as error:
            logger.warning("The tool %s failed.", call.name, exc_info=True)
            said = f"{type(error).__name__}: {error}"
            return ToolResult(call.id, said, call.name, is_error=True)
        return ToolResult(call.id, text, call.name, media=media)


def _pauses(answer: Completion) -> bool:
    return answer.finish_reason == "pause" and not answer.tool_calls


def _outcome(future: Future[ToolResult], call: ToolCall) -> ToolResult:
    """Return what became of a call, for which the time may have been too short."""
    if future.cancelled():
        said = "The tool was not run: no time was left."
    elif not future.done():
        said = "The tool did not end in time; what it does may have taken effect."
    else:
        return future.result()
    return ToolResult(call.id, said, call.name, is_error=True)


def _check_tools(prompt: Prompt) -> None:
    for tool in prompt.tools:
        check(tool.parameters, param="tools")
        if tool.function is None:
            raise InvalidRequestError(
                f"run_tools() cannot run {tool.name!r}: give the function itself, or "
                "Tool(…, function=…).",
                param="tools",
            )
