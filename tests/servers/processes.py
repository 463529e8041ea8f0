"""A WSGI server with the demo app, as processes of their own on a real socket."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import requests
from sockets import free_port, wait_until

TESTS = Path(__file__).parents[1]
PYTHONPATH = f"{TESTS.parent}:{TESTS}"
"""Where the demo is, and what tests serve in its place."""

BUSY_SECONDS = 60
"""In which a busy machine gets to anything that is waited for."""

WORKERS = 4

_GUNICORN = (
    f"gunicorn --bind=127.0.0.1:{{port}} --workers={WORKERS} --no-control-socket"
)
_WAITRESS = "waitress --listen=127.0.0.1:{port} --threads=16"

COMMANDS = {
    "sync": f"{_GUNICORN} -k sync --preload",
    "gthread": f"{_GUNICORN} -k gthread --threads=8",
    "gevent": f"{_GUNICORN} -k gevent",
    "preload": f"{_GUNICORN} -k gthread --threads=8 --preload",
    "waitress": _WAITRESS,
}
"""How each kind of server is started."""


class Server:
    """A server that can be started, killed in part or whole, and started again.

    :param kind: one of ``COMMANDS``.
    :param options: more options of the server.
    :param app: what it serves.
    :param environ: the settings of the app, as environment variables.
    :param folder: where it runs and logs.
    """

    def __init__(self, kind, *options, app="demo_app:create_app", environ, folder):
        self.kind = kind
        self.forks = kind != "waitress"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self._environ = environ
        self._folder = folder
        command = COMMANDS[kind].format(port=self.port).split()
        target = [f"{app}()"] if self.forks else ["--call", app]
        self._command = [sys.executable, "-m", *command, *options, *target]

    @property
    def log(self):
        """What it has said so far."""
        return (self._folder / "server.log").read_text(errors="replace")

    @property
    def workers(self):
        """The process ids of those who answer requests."""
        if not self.forks:
            return [self.process.pid]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def worker_at_work(self):
        """Return the process id of the one worker that has a request."""
        found = []

        def one_is():
            found[:] = [pid for pid in self.workers if connections(pid, self.port)]
            return len(found) == 1

        assert wait_until(one_is, BUSY_SECONDS), found
        return found[0]

    @property
    def is_running(self):
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Start it, and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=os.environ | {"PYTHONPATH": PYTHONPATH} | self._environ,
                stdout=log,
                stderr=log,
            )
        assert wait_until(self._is_up, BUSY_SECONDS), self.log

    def ask_to_end(self):
        """Do what a deployment does: SIGTERM, once all workers are there to hear it."""
        if self.forks:
            assert wait_until(lambda: all(map(_listens, self.workers)), BUSY_SECONDS)
        self.process.send_signal(signal.SIGTERM)

    def kill(self, worker):
        """Kill a worker, as the kernel does when memory is short; see that it is gone.

        Where it is the whole server, that is started again.
        """
        os.kill(worker, signal.SIGKILL)
        assert wait_until(lambda: not self.is_running or worker not in self.workers)
        if not self.is_running:
            self.start()

    def wait(self):
        """Wait until it has ended; return its exit code."""
        return self.process.wait(BUSY_SECONDS)

    def stop(self):
        """End it with all its workers, whatever they are at."""
        if self.is_running:
            workers = self.workers
            self.process.kill()
            self.process.wait(BUSY_SECONDS)
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _is_up(self):
        if not self.is_running:
            raise AssertionError(self.log)
        try:
            return requests.get(self.url, timeout=BUSY_SECONDS).ok
        except requests.ConnectionError:
            return False


def _listens(worker):
    """Whether a worker of gunicorn has set up its signals: those before are lost.

    SIGABRT is one that it handles and its master does not.
    """
    status = Path(f"/proc/{worker}/status").read_text()
    handled = int(re.search(r"^SigCgt:\t(\w+)$", status, re.MULTILINE)[1], 16)
    return bool(handled & 1 << (signal.SIGABRT - 1))


ESTABLISHED = "01"
"""As the kernel writes it."""


def connections(pid, port):
    """Return the open connections of a process from or to a port, as inodes."""
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            held.add(descriptor.readlink().name)
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return held & {
        f"socket:[{inode}]"
        for _, here, there, state, *_, inode in (line.split()[:10] for line in lines)
        if state == ESTABLISHED and port in {_port(here), _port(there)}
    }


def _port(address):
    return int(address.rpartition(":")[2], 16)
