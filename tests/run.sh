#!/bin/sh
# Sets everything up, then runs the tests; arguments go to pytest:
#
#   tests/run.sh -k stream
#   tests/run.sh -n 0 --pdb    in one process, where there are as many as cores otherwise
set -eu
cd -- "$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)"
. .ci/venv.sh

prepare "[test]"
# Files stay whole: what a module's fixtures start is started once. Each process has
# databases and servers of its own, so there are not too many of them.
exec .venv/bin/python -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
