"""Worker processes of one app: what each of them runs, and how a test leads them.

They are forked from a clean process that has only loaded what they need; nothing of the
test's own process reaches them but what is handed over, as with ``spawn``. Each has a
pipe of its own, since one that is killed may break what all share.
"""

import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from typing import NamedTuple

from flask import Flask, current_app

import flask_llm
from flask_llm import LLMError, llm_bp

PATIENCE_SECONDS = 60
"""After which a worker that says nothing is taken for stuck."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["flask_llm", "flask_limiter", "flask_caching", "redis", "psycopg", "pymysql"]
)


def make_app(folder, config):
    """Make the app as each of its workers has it."""
    app = Flask("shop", instance_path=str(folder))
    app.config.update({"SECRET_KEY": "test", "LLM_AUTO_MIGRATE": True} | config)
    app.register_blueprint(llm_bp)
    return app


# --- What a worker runs ----------------------------------------------------------


class Outcome(NamedTuple):
    """How one call ended."""

    kind: str
    """``ok``, ``cached``, or the code of the error."""
    is_named: bool
    """Whether it is an answer or one of the package's own errors."""
    request_id: str
    seconds: float
    text: str


def run(pipe, folder, config, work, options):
    """Set the app up, wait for the word, work, and tell what came of it."""
    lock, told = threading.Lock(), set()

    def tell(kind, what=None):
        with lock:
            pipe.send((kind, what))

    class Telling(logging.Handler):
        def emit(self, record):
            line = record.getMessage()
            if line not in told:  # a pipe that nobody reads from is soon full
                told.add(line)
                tell("log", line)

    logging.getLogger("flask_llm").addHandler(Telling())
    try:
        app = make_app(folder, config)
        app.extensions["llm"].database.prepare()
        tell("ready")
        pipe.recv()
        with app.app_context():
            tell("done", work(pipe, **options))
    except BaseException:  # noqa: BLE001 - the test is to see it
        tell("failed", traceback.format_exc())


def ask(
    pipe,
    *,
    threads,
    calls=None,
    models=(None,),
    repeats=1,
    prompt=None,
    pause=0.0,
    **options,
):
    """Let threads ask, and return how each call ended.

    :param calls: of each thread; None goes on until the test says so.
    :param models: the threads take turns with them.
    :param repeats: how often each question is asked in a row.
    :param prompt: the question; questions of each call's own if left out.
    :param pause: seconds between the calls of a thread.
    """
    app, stop, outcomes = current_app._get_current_object(), threading.Event(), []

    def work(number):
        model = models[number % len(models)]
        for turn in itertools.count() if calls is None else range(calls):
            text = prompt or f"{os.getpid()}-{number}-{turn // repeats}"
            with app.app_context():
                outcomes.append(outcome(text, model=model, **options))
            if stop.wait(pause):
                return

    running = [
        threading.Thread(target=work, args=(number,), daemon=True)
        for number in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        while thread.is_alive():
            if pipe.poll():
                pipe.recv()
                stop.set()
            thread.join(0.02)
    return outcomes


def outcome(prompt, **options):
    """Ask, and return how that ended."""
    began = time.monotonic()
    try:
        answer = flask_llm.complete(prompt, **options)
    except LLMError as error:
        kind = error.code or type(error).__name__
        found = kind, True, error.request_id or "", error.message
    except Exception as error:  # noqa: BLE001 - the test is to see it
        found = repr(error), False, "", ""
    else:
        kind = "cached" if answer.cached else "ok"
        found = kind, True, answer.request_id, answer.text
    *facts, text = found
    return Outcome(*facts, time.monotonic() - began, text)


class Group(NamedTuple):
    """What became of prompts that were asked together."""

    texts: list
    threads: set
    """The names of those that asked."""


def ask_together(pipe, *, prompts, **options):
    """Ask a group of prompts, and return the answers and which threads asked."""
    threads = set()

    def note(_sender, **_facts):
        threads.add(threading.current_thread().name)

    with flask_llm.signals.completion_started.connected_to(note):
        answers = flask_llm.complete_many(prompts, **options)
    return [Group([getattr(one, "text", repr(one)) for one in answers], threads)]


def ask_until_interrupted(pipe, *, prompts, **options):
    """Ask a group of prompts; return the exception and the threads that are left."""
    before = set(threading.enumerate())
    try:
        flask_llm.complete_many(prompts, **options)
    except BaseException as error:  # noqa: BLE001 - the test is to see which
        left = [one.name for one in threading.enumerate() if one not in before]
        return [(type(error).__name__, left)]
    return [("nothing", [])]


# --- How a test leads them -------------------------------------------------------


class Worker:
    """One worker process, as the test sees it."""

    def __init__(self, folder, config, work, options):
        self._pipe, theirs = PROCESSES.Pipe()
        self._said = []
        arguments = theirs, folder, config, work, options
        self.process = PROCESSES.Process(target=run, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def tell(self):
        """Let it begin; or, the second time, let it end."""
        with contextlib.suppress(OSError):  # it may have ended by itself
            self._pipe.send("go")

    def hear(self, kind):
        """Return what it says next of one kind."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            for place, (said, what) in enumerate(self._said):
                if said == "failed":
                    raise AssertionError(what)
                if said == kind:
                    del self._said[place]
                    return what
            if not self._listen(ends - time.monotonic()):
                raise AssertionError(f"The worker never said {kind!r}: {self._said}")

    def has_logged(self, text):
        """Whether it has written such a line to its log."""
        while self._listen(0):
            pass
        return any(kind == "log" and text in what for kind, what in self._said)

    def interrupt(self):
        """Do what Ctrl-C does."""
        os.kill(self.process.pid, signal.SIGINT)

    def kill(self):
        """End it without any warning; its connections drop."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join(PATIENCE_SECONDS)

    def _listen(self, seconds):
        try:
            if self._pipe.poll(max(0, seconds)):
                self._said.append(self._pipe.recv())
                return True
        except (EOFError, OSError):
            return False
        return False


class Crew:
    """Workers that do the same."""

    def __init__(self, workers):
        self.workers = workers
        for worker in workers:
            worker.hear("ready")

    def begin(self):
        """Let all of them begin."""
        for worker in self.workers:
            worker.tell()

    def results(self):
        """Wait for all of them to end by themselves; return what they bring."""
        return [found for worker in self.workers for found in worker.hear("done")]

    def end(self):
        """Let all of them end; return what they bring."""
        self.begin()
        return self.results()

    def have_logged(self, text):
        """Whether each of them has written such a line to its log."""
        return all(worker.has_logged(text) for worker in self.workers)
