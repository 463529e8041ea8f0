# Makes .venv in the checkout, with the package installed. Read by demo_app/run.sh and
# tests/run.sh; not a program of its own. POSIX sh.
#
#   prepare ""         for running
#   prepare "[test]"   for running the tests, too
#
# PYTHON names the interpreter to use, where it is not to be the first one that fits.

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for name in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 \
        python3.11 python; do
        if is_new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or newer is needed and not on PATH." \
        "On Debian: apt-get install python3 (12 or newer has it)."
}

is_whole() {
    is_new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1
}

make_venv() {
    log=$("$python" -m venv --clear .venv 2>&1) && is_whole
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "That takes root, and there is no sudo here."
        return 1
    fi
}

# Debian keeps what a virtual environment needs in a package of its own.
install_venv_package() {
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    command -v apt-get >/dev/null || return 1
    say "Installing the Debian package $package ..."
    log=$(as_root apt-get update -qq 2>&1) || return 1
    log=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "$package" 2>&1)
}

create() {
    python=$(find_python) || exit 1
    say "Creating .venv with $python ..."
    if ! make_venv && ! { install_venv_package && make_venv; }; then
        rm -rf .venv
        fail "$log
No virtual environment could be made. As root run

    apt-get install python3-venv

and try again."
    fi
}

state() {
    pwd
    .venv/bin/python --version
    cksum setup.cfg pyproject.toml
}

prepare() {
    is_whole || create
    stamp=.venv/installed$1
    [ "$(cat "$stamp" 2>/dev/null)" != "$(state)" ] || return 0
    say "Installing flask-llm$1 into .venv, a minute or so the first time ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --editable ".$1" || fail "The installation failed; see above."
    # What the tests need contains what the demo needs.
    state >.venv/installed
    state >"$stamp"
}
