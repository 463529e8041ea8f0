"""Feed a target for as long as one likes.

    python tests/fuzz sse                      # a minute
    python tests/fuzz answers --seconds 600    # ten
    python tests/fuzz all --seconds 5          # one after the other

With atheris (``pip install 'flask-llm[fuzz]'``) it is led by what is covered; without,
seeds are changed at random. What makes a check fail is kept beside the seeds of the
next run in ``--corpus``, where that is given, and always shown.
"""

import argparse
import faulthandler
import importlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz import TARGETS, changes  # noqa: E402 - the line above finds it

HANG_SECONDS = 10
"""After so long a single check is taken for stuck."""


def main():
    """Read the command line, and feed one target, or all of them in turn."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz")
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, help="a folder to keep finds in")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--plain", action="store_true", help="without atheris")
    options = parser.parse_args()
    if options.target == "all":
        rest = [word for word in sys.argv[1:] if word != "all"]
        commands = [[sys.executable, __file__, name, *rest] for name in TARGETS]
        codes = [subprocess.run(one, check=False).returncode for one in commands]
        sys.exit(any(codes))
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.corpus or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        feed(options, folder)


def feed(options, folder):
    """Feed one target, led by atheris where it is there."""
    try:
        atheris = None if options.plain else importlib.import_module("atheris")
    except ModuleNotFoundError:
        atheris = None
    if atheris is None:
        feed_plainly(options, folder)
        return
    with atheris.instrument_imports(include=["flask_llm", "fuzz"]):
        target = importlib.import_module(f"fuzz.{options.target}")
    for number, seed in enumerate(target.SEEDS):
        (folder / f"seed-{number}").write_bytes(seed)
    libfuzzer = {
        "max_total_time": options.seconds,
        "timeout": HANG_SECONDS,
        "seed": options.seed % 2**32,
        "max_len": 4096,
    }
    flags = [f"-{name}={value}" for name, value in libfuzzer.items()]
    atheris.Setup([sys.argv[0], *flags, str(folder)], target.check)
    atheris.Fuzz()


def feed_plainly(options, folder):
    """Change seeds at random until the time is over, or a check fails."""
    target = importlib.import_module(f"fuzz.{options.target}")
    seeds = target.SEEDS + [path.read_bytes() for path in folder.iterdir()]
    chance = random.Random(options.seed)
    ends = time.monotonic() + options.seconds
    count = 0
    while time.monotonic() < ends:
        data = changes.changed(chance, seeds)
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        try:
            target.check(data)
        except BaseException:
            (folder / f"find-{options.seed}-{count}").write_bytes(data)
            print(f"{options.target} fails on {data!r}")
            raise
        count += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{options.target}: {count} checks, seed {options.seed}")


if __name__ == "__main__":
    main()
