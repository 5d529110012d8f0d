#!/bin/sh
# Makes an environment beside .venv: sh requirements/setup_extra.sh compare|docs
# .venv-compare has the baselines of `make compare`, .venv-docs what `make docs` builds the site with.
# Does nothing, at once, where the environment is as its lock file says.
set -eu
cd "$(dirname "$0")/.."

kind=$1
venv=.venv-$kind
python=$venv/bin/python
lock=requirements/$kind.txt
log=$venv/setup.log
stamp=$venv/setup.stamp

say() { printf '%s\n' "$*" >&2; }

fingerprint() { { cat "$lock" && pwd; } | cksum; }

if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ]; then exit 0; fi

# --no-deps: the lock is complete, and pip 23.0 refuses hashes together with extras.
install() {
    if uv --version >/dev/null 2>&1; then
        uv pip install --python "$python" --no-deps --require-hashes "$@"
    else
        "$python" -m pip install --disable-pip-version-check --no-input --no-deps \
            --require-hashes "$@"
    fi
}

# Packages that come as source only, as scikit-surprise: their builders first, from the lock, then
# the rest without build isolation, which would ask the index for whatever is newest today.
install_all() {
    awk '/^[^ #]/ { builder = /^(setuptools|wheel|cython|numpy)==/ } builder && !/^ *#/' \
        "$lock" >"$venv/builders.txt"
    if [ -s "$venv/builders.txt" ]; then
        install -r "$venv/builders.txt" || return
        set -- --no-build-isolation
    fi
    install "$@" -r "$lock"
}

base=$(sh requirements/find_python.sh)
rm -rf "$venv"
"$base" -m venv "$venv"
say "Installing $(grep -c == "$lock") packages into $venv (1 to 2 minutes) ..."
if ! install_all >"$log" 2>&1; then
    say "Installing them failed: $(grep -iE 'error|cause' "$log" | tail -n 1 | cut -c 1-160)"
    if grep -qE "command '?[^ ]*(gcc|cc|clang|[gc]\+\+)'? failed" "$log"; then
        say "A package is compiled here: get a C++ compiler (on Debian: apt install build-essential)."
    fi
    say "The whole output is in $log; when the cause is gone, the same command goes on."
    exit 1
fi
fingerprint >"$stamp"
