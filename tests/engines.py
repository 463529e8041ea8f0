"""Engines of a test's own, to be stopped and started: Redis and PostgreSQL.

The machine's own engines are nobody's to stop.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from sockets import free_port, wait_until

START_SECONDS = 30
"""How long an engine may take to answer on a busy machine."""


def missing(reason):
    """Skip with the reason; under CI an engine that is missing is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


class Engine:
    """A server on a spare port, its data in a folder of its own."""

    def __init__(self):
        self.port = free_port()
        self.process = None

    def start(self):
        """Start it, and wait until it answers."""
        self.process = self._launch()
        assert wait_until(self.answers, START_SECONDS)

    def stop(self):
        """Stop it at once, as a crash would."""
        if self.process is not None:
            self.process.send_signal(self.crash)
            self.process.wait(START_SECONDS)
            self.process = None

    def restart(self):
        """Stop it and start it again."""
        self.stop()
        self.start()


class Redis(Engine):
    """A Redis that forgets everything when it stops."""

    crash = signal.SIGKILL

    def __init__(self, folder):
        super().__init__()
        self._folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def answers(self):
        """Whether it takes connections."""
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def freeze(self):
        """Have it take connections and answer nobody."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Have it answer again, those first who asked meanwhile."""
        self.process.send_signal(signal.SIGCONT)

    def _launch(self):
        options = ["--port", str(self.port), "--save", "", "--appendonly", "no"]
        return subprocess.Popen(
            ["redis-server", *options], cwd=self._folder, stdout=subprocess.DEVNULL
        )


class Postgres(Engine):
    """A PostgreSQL cluster; what was committed is there again after a crash."""

    crash = signal.SIGQUIT
    """What PostgreSQL calls an immediate shutdown."""

    def __init__(self, binaries, folder, owner):
        super().__init__()
        self._binaries = binaries
        self._folder = folder
        self._owner = owner
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-N")

    def answers(self):
        """Whether it takes connections."""
        ready = self._command("pg_isready", "-h", "127.0.0.1", "-p", str(self.port))
        return subprocess.run(ready, capture_output=True, check=False).returncode == 0

    def create(self, name):
        """Make an empty database, and return its address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), name)
        return self.url.removesuffix("postgres") + name

    def _launch(self):
        settings = ["fsync=off", "listen_addresses=127.0.0.1", "autovacuum=off"]
        options = [word for setting in settings for word in ("-c", setting)]
        places = ["-D", "data", "-p", str(self.port), "-k", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                self._command("postgres", *places, *options),
                cwd=self._folder,
                stdout=log,
                stderr=log,
                **self._owner,
            )

    def _run(self, name, *arguments):
        command = self._command(name, *arguments)
        subprocess.run(
            command, cwd=self._folder, check=True, capture_output=True, **self._owner
        )

    def _command(self, name, *arguments):
        return [str(self._binaries / name), *arguments]


@contextlib.contextmanager
def redis_server(folder):
    """Run a Redis of one's own."""
    if shutil.which("redis-server") is None:
        missing("there is no redis-server here")
    server = Redis(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def postgres_server():
    """Run a PostgreSQL of one's own; it refuses to be root's."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="llm-postgres-"))
    owner = {}
    if os.geteuid() == 0:
        user = _user("postgres")
        owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        os.chown(folder, user.pw_uid, user.pw_gid)
    try:
        server = Postgres(binaries, folder, owner)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _binaries():
    """Find the newest PostgreSQL; Debian keeps it where no PATH leads."""
    found = list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve())
    if not found:
        missing("there is no PostgreSQL server here: no initdb")
    return max(found, key=_version).parent


def _version(path):
    digits = path.parent.parent.name
    return int(digits) if digits.isdigit() else 0


def _user(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return missing(f"PostgreSQL refuses to be root's, and there is no user {name}")
