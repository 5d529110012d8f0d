#!/bin/sh
# Makes .venv-compare, the baselines' environment of `make compare`; at once where it is already.
set -eu
cd "$(dirname "$0")/.."

python=.venv-compare/bin/python
lock=requirements/compare.txt
log=.venv-compare/setup.log
stamp=.venv-compare/setup.stamp

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

# scikit-surprise comes as source only: its builders first, from the lock, then the rest
# without build isolation, which would ask the index for whatever is newest today.
install_all() {
    awk '/^[^ #]/ { builder = /^(setuptools|wheel|cython|numpy)==/ } builder && !/^ *#/' \
        "$lock" >.venv-compare/builders.txt &&
        install -r .venv-compare/builders.txt &&
        install --no-build-isolation -r "$lock"
}

base=$(sh requirements/find_python.sh)
rm -rf .venv-compare
"$base" -m venv .venv-compare
say "Installing $(grep -c == "$lock") packages into .venv-compare (1 to 2 minutes) ..."
if ! install_all >"$log" 2>&1; then
    say "Installing the baselines failed: $(grep -iE 'error|cause' "$log" | tail -n 1 | cut -c 1-160)"
    say "scikit-surprise is compiled here: it takes a C++ compiler (on Debian: apt install build-essential)."
    say "The whole output is in $log; when the cause is gone, the same command goes on."
    exit 1
fi
fingerprint >"$stamp"
