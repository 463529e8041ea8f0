#!/bin/sh
# Sets everything up, then runs the tests; arguments go to pytest:
#
#   tests/run.sh -k stream
set -eu
cd -- "$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)"
. .ci/venv.sh

prepare "[test]"
exec .venv/bin/python -m pytest "$@"
