"""What the app asked the models, in the order of asking."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from flask_llm import signals
from flask_llm.chat import Completion, Inputs, Message, Prompt, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a model, as it stood when it was looked at."""

    model: str
    """``provider/model``."""
    messages: tuple[Message, ...]
    system: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """All other options that have a value, those from the settings included."""
    user: str | None = None
    tenant: str | None = None
    feature: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    attempts: int = 0
    """Requests that were sent for it, retries included."""
    status: str = "pending"
    """As in the ledger: ``ok``, ``cached``, ``failed``, ``cancelled``, ``refused``."""
    completion: Completion | None = None
    """The answer; what had come of it where it broke off."""
    error: BaseException | None = None

    @property
    def prompt(self) -> str:
        """The last words of the user."""
        said = [turn.text for turn in self.messages if turn.role == "user"]
        return said[-1] if said else ""

    @property
    def cost_usd(self) -> Decimal | None:
        """What it cost, None where that is not known."""
        if self.completion is None:
            return Decimal(0)
        return self.completion.cost_usd

    @classmethod
    def of(cls, prompt: Question, request_id: str) -> Self:
        """Take from a prompt what a test may look at."""
        options = {
            entry.name: getattr(prompt, entry.name)
            for entry in fields(prompt)
            if entry.name not in _NO_OPTIONS
        }
        return cls(
            model=prompt.full_model,
            messages=getattr(prompt, "messages", ()),
            system=getattr(prompt, "system", None),
            options={name: v for name, v in options.items() if v not in _UNSET},
            user=prompt.user,
            tenant=prompt.tenant,
            feature=prompt.feature,
            tags=prompt.tags,
            request_id=request_id,
        )


def call_of(request: requests.PreparedRequest) -> Call:
    """Read what little a request shows that belongs to no call of a verb."""
    url = urlsplit(str(request.url))
    try:
        model = json.loads(request.body or b"{}").get("model")
    except (ValueError, AttributeError):
        model = None
    return Call(model=f"{url.hostname}/{model or url.path}", messages=())


_NO_OPTIONS = {
    *("provider", "model", "messages", "system", "defaulted"),
    *("user", "tenant", "feature", "tags"),
}
_UNSET: tuple[Any, ...] = (None, (), {})


def known_names() -> set[str]:
    """Return what :meth:`FakeLLM.assert_called_with` can look at."""
    names = {entry.name for kind in (Call, Prompt, Inputs) for entry in fields(kind)}
    return names - {"provider", "defaulted"} | {"prompt"}


def seen(call: Call, name: str, wanted: object) -> tuple[Any, bool]:
    """Return what a call has under a name, and whether that is what is wanted."""
    if name == "prompt" and callable(wanted):
        return call.prompt, bool(wanted(call))
    found = getattr(call, name) if hasattr(call, name) else call.options.get(name)
    if name == "model" and isinstance(wanted, str):
        return found, fits_model(wanted, call.model)
    if name in _TEXTS and isinstance(wanted, str):
        return found, fits_text(wanted, found)
    return found, bool(found == wanted)


_TEXTS = ("prompt", "system", "user", "tenant", "feature")


def fits_model(wanted: str | None, model: str) -> bool:
    """Tell whether a model is the one meant; the provider may be left out."""
    if wanted is None:
        return True
    return any(
        name == wanted or fnmatchcase(name, wanted)
        for name in (model, model.partition("/")[2])
    )


def fits_text(wanted: str, text: str | None) -> bool:
    """Tell whether a text is the one meant, to the letter or with ``*``."""
    return wanted == text or (text is not None and fnmatchcase(text, wanted))


class Log:
    """Writes calls down as the package's own signals tell of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._open: dict[str, int] = {}
        self._thread = threading.local()

    def __enter__(self) -> None:
        signals.completion_started.connect(self._started, weak=False)
        signals.completion_finished.connect(self._finished, weak=False)

    def __exit__(self, *exception: object) -> None:
        signals.completion_started.disconnect(self._started)
        signals.completion_finished.disconnect(self._finished)

    @property
    def calls(self) -> list[Call]:
        """A copy of the calls so far, in the order of asking."""
        with self._lock:
            return list(self._calls)

    @property
    def current(self) -> tuple[int, Call] | None:
        """The call that this thread is sending, with its place among all."""
        place: int | None = getattr(self._thread, "place", None)
        with self._lock:
            if place is None or place not in self._open.values():
                return None
            return place, self._calls[place]

    def _started(
        self, sender: object, *, prompt: Prompt, request_id: str, **_: Any
    ) -> None:
        del sender
        with self._lock:
            self._thread.place = self._open[request_id] = len(self._calls)
            self._calls.append(Call.of(prompt, request_id))

    def _finished(
        self, sender: object, *, prompt: Prompt, request_id: str, **facts: Any
    ) -> None:
        """Complete a call; one that was refused or kept has never started."""
        del sender
        known = {name: facts[name] for name in _FACTS if name in facts}
        with self._lock:
            place = self._open.pop(request_id, len(self._calls))
            if place == len(self._calls):
                self._calls.append(Call.of(prompt, request_id))
            self._calls[place] = replace(self._calls[place], **known)


_FACTS = ("status", "attempts", "completion", "error")
