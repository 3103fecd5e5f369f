#!/usr/bin/env bash
# Installs what is missing, and is quick when nothing is: uv, the locked environment, the engine.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/sluice"

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

find_uv() {
    if command -v uv; then return; fi
    if [ -x "$cache/uv/bin/uv" ]; then
        printf '%s\n' "$cache/uv/bin/uv"
        return
    fi
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail 'Python 3.11 or newer is needed' '-> on Debian or Ubuntu: apt-get install python3 python3-venv'
    printf 'setup: installing uv into %s\n' "$cache/uv" >&2
    python3 -m venv "$cache/uv" >&2 ||
        fail 'python3 cannot make a virtual environment' '-> on Debian or Ubuntu: apt-get install python3-venv'
    "$cache/uv/bin/pip" install --quiet --disable-pip-version-check uv >&2 ||
        fail 'uv could not be installed from the package index' '-> check the network, or install uv yourself'
    printf '%s\n' "$cache/uv/bin/uv"
}

# The environment is up to date while its stamp is newer than what it is made from.
stamp=.venv/.synced
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ uv.lock -nt "$stamp" ]; then
    uv="$(find_uv)"
    "$uv" sync --locked --quiet ||
        fail 'the locked environment could not be installed' "-> run: $uv sync --locked"
    touch "$stamp"
fi

exec .venv/bin/python -m router.cli.engine
