"""The models of a test: scripted answers below, what the app asked above."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import requests
from responses import RequestsMock

from flask_llm.emulator import Answer, Fault
from flask_llm.errors import LLMError, nearest
from flask_llm.testing import words
from flask_llm.testing.border import Border
from flask_llm.testing.bridge import Bridge, is_count
from flask_llm.testing.calls import Call, Log, call_of, known_names, seen
from flask_llm.testing.failures import failure
from flask_llm.testing.script import Entry, Outcome, Script
from flask_llm.testing.setting import FAKE_KEY, fake_keys
from flask_llm.testing.tapes import Tape
from flask_llm.testing.terms import (
    Conditions,
    Details,
    Said,
    Terms,
    answer_of,
    split,
    tool_answer,
)


class Unscripted(AssertionError):  # noqa: N818 - a failed test, and not an error
    """The app asked a model something that the test says nothing about."""


class NetworkBlocked(AssertionError):  # noqa: N818 - a failed test, and not an error
    """The app would have reached the network."""


class ScriptLeftWarning(UserWarning):
    """The test scripted what the app never asked for."""


class FakeLLM:
    """Stands in for all models while a test runs, below ``requests``.

    The real package runs above it: prompts are written in the provider's own format,
    answers are read from it, rows, prices, limits and retries are as ever. As a fixture
    it is ``llm``; without pytest it is a context manager:

    .. code-block:: python

        with FakeLLM() as llm:
            llm.answer("A short text.")

    :param strict: what was scripted and never asked for fails the test; otherwise it
        is a warning.
    :param live: let :meth:`record` ask the provider where there is no file yet.
    """

    def __init__(self, *, strict: bool = False, live: bool = False) -> None:
        self._strict = strict
        self._live = live
        self._log = Log()
        self._script = Script()
        self._default: Outcome | None = None
        self._bridge = Bridge()
        self._border = Border(self._model, self._stranger, self._came_back)
        self._tape: Tape | None = None
        self._lock = threading.Lock()
        self._problems: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.running())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if error is None:
            self.check()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Stand in for the models, and leave the last :meth:`check` to the caller."""
        with fake_keys(), self._border, self._log:
            yield

    # What the models say

    def answer(self, text: Said = "", **terms: Unpack[Terms]) -> None:
        """Script the answer to a call, whole or streamed word by word.

        :param text: what the model says; a dict or a list is said as JSON.
        :param model: only for this model; ``*`` stands for anything, and the provider
            may be left out.
        :param prompt: only for these last words of the user, in which ``*`` stands for
            anything, or for calls that a function finds fit.
        :param times: for how many calls; None for any number, none at all included.
        :param reasoning, tool_calls, refusal, finish_reason, usage: what else the
            answer has, as :class:`Answer` describes it.
        """
        where, details = split(terms)
        answer = answer_of(text, details)
        self._add(f"llm.answer({words.short(text)})", answer, where)

    def stream(
        self, *pieces: str, broken: bool = False, **where: Unpack[Conditions]
    ) -> None:
        """Script an answer that is streamed in these very pieces.

        :param broken: the provider hangs up after them, in the middle of the answer.
        """
        said = [*pieces, "…"] if broken else list(pieces)
        answer = Answer(text="".join(said), chunks=said)
        outcome = Fault(answer=answer, break_off=True) if broken else answer
        shown = ", ".join(map(words.short, pieces))
        self._add(f"llm.stream({shown})", outcome, where)

    def tool_call(
        self,
        name: str,
        arguments: Mapping[str, Any] | str | None = None,
        *,
        text: str = "",
        **where: Unpack[Conditions],
    ) -> None:
        """Script an answer that asks for a tool.

        :param arguments: a dict, or a string for what is no JSON. For several tools at
            a time there is ``answer(tool_calls=[{"name": …, "arguments": …}, …])``.
        """
        answer = tool_answer(name, arguments, text)
        self._add(f"llm.tool_call({name!r})", answer, where)

    def fail(
        self,
        error: type[LLMError] | Fault | None = None,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        message: str | None = None,
        code: str | None = None,
        tries: int | None = None,
        **where: Unpack[Conditions],
    ) -> None:
        """Script what makes a call raise an error.

        :param error: a class of the package's errors, or a fault of the emulator.
        :param status: an HTTP status instead; 500 by default.
        :param retry_after: seconds that the provider wants to be left alone.
        :param tries: how many of the call's requests fail; by default all of them,
            retries included.
        """
        outcome = failure(
            error, status=status, retry_after=retry_after, message=message, code=code
        )
        shown = getattr(error, "__name__", None) or f"status={status or 500}"
        self._add(f"llm.fail({shown})", outcome, where, tries=tries)

    def default(self, text: Said | None = None, **details: Unpack[Details]) -> None:
        """Answer whatever is asked and not scripted.

        :param text: what to say; without it, the emulator's own words, which quote the
            prompt, call the tools offered and fill the schema asked for.
        """
        own_words = text is None and not details
        self._default = Fault() if own_words else answer_of(text or "", details)

    def record(self, path: str | Path) -> None:
        """Answer from a file what is not scripted, and fail where it has no answer.

        Where there is no file, the provider is asked once to make it, but only with
        ``pytest --llm-record`` (``live=True``).
        """
        self._tape = Tape(path, live=self._live)

    # What the app did

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls so far, of all apps, in the order of asking."""
        return tuple(self._log.calls)

    @property
    def cost_usd(self) -> Decimal | None:
        """What all calls together cost; None where the price of one is not known."""
        total = Decimal(0)
        for call in self.calls:
            if call.cost_usd is None:
                return None
            total += call.cost_usd
        return total

    @property
    def http(self) -> RequestsMock:
        """The mock of ``responses`` below it all, for what else the app requests."""
        if self._border.http is None:
            raise RuntimeError("FakeLLM is not running: use it in a with statement.")
        return self._border.http

    def assert_called_with(self, **wanted: Any) -> None:
        """See that one call, at least, was like this.

        :param wanted: ``model`` and ``prompt`` as in :meth:`answer`, any other field of
            :class:`Call`, any option.
        """
        for name in wanted.keys() - known_names():
            raise TypeError(f"No call has {name!r}.{nearest(name, known_names())}")
        for call in self.calls:
            if all(seen(call, name, value)[1] for name, value in wanted.items()):
                return
        raise AssertionError(words.not_called(wanted, self.calls, seen))

    def assert_not_called(self) -> None:
        """See that no model was asked anything."""
        if self.calls:
            asked = "\n".join(f"    {c.model}: {c.prompt!r}" for c in self.calls)
            raise AssertionError(f"models were asked:\n{asked}")

    def check(self) -> None:
        """Fail where the app swallowed what failed, and tell of what is left over.

        The fixture and the ``with`` statement do so at the end.
        """
        if self._problems:
            raise Unscripted("\n\n".join(self._problems))
        left = self._script.left
        if left and self._strict:
            raise AssertionError(words.leftover(left))
        if left:
            warnings.warn(words.leftover(left), ScriptLeftWarning, stacklevel=2)

    # Below requests

    def _add(
        self,
        written: str,
        outcome: Outcome,
        conditions: Conditions,
        *,
        tries: int | None = None,
    ) -> None:
        entry = Entry(written=written, outcome=outcome, tries=tries, **conditions)
        self._script.add(entry)

    def _model(self, request: requests.PreparedRequest) -> Any:
        if is_count(request):
            return self._bridge.respond(request, Fault())
        place, call = self._log.current or (None, call_of(request))
        outcome = self._script.take(place, call)
        if outcome is None and self._tape:
            return self._replayed(self._tape, request)
        outcome = outcome or self._default
        if outcome is None:
            raise self._failed(Unscripted(words.unscripted(call, self._script.left)))
        if isinstance(outcome, Exception):
            return type(outcome)(*outcome.args)  # each thread raises one of its own
        return self._bridge.respond(request, outcome)

    def _replayed(self, tape: Tape, request: requests.PreparedRequest) -> Any:
        if tape.is_recording and FAKE_KEY not in str(request.headers):
            return None
        if tape.is_recording:
            words = f"{tape.path} cannot be recorded without a real key"
            raise self._failed(NetworkBlocked(words))
        try:
            return tape.replay(request)
        except LookupError as error:
            raise self._failed(Unscripted(str(error.args[0]))) from None

    def _came_back(self, response: requests.Response) -> None:
        if self._tape:
            self._tape.record(response)

    def _stranger(self, request: requests.PreparedRequest) -> Any:
        raise self._failed(
            NetworkBlocked(
                f"the app would have reached the network: {request.method} "
                f"{request.url}\nMock it, for instance with llm.http.get(url, json=…)."
            )
        )

    def _failed(self, problem: AssertionError) -> AssertionError:
        """Remember a problem, for apps that catch every exception."""
        with self._lock:
            self._problems.append(str(problem))
        return problem
