#!/bin/sh
# Sets everything up, then runs the demo; arguments go to "flask run":
#
#   demo_app/run.sh --port 8000
set -eu
cd -- "$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)"
. .ci/venv.sh

prepare ""
[ $# -gt 0 ] || say "Open http://127.0.0.1:${FLASK_RUN_PORT:-5000}/ (Ctrl+C ends the demo)"
exec .venv/bin/python -m flask --app demo_app run "$@"
