#!/bin/sh
# Brings .venv in line with a lock file: sh requirements/setup_env.sh runtime|dev
# Does nothing, at once, where it already is; repairs what an interrupted call left.
set -eu
cd "$(dirname "$0")/.."

kind=${1:-runtime}
python=.venv/bin/python
log=.venv/setup.log
unfinished=.venv/setup-unfinished

say() { printf '%s\n' "$*" >&2; }

# The folder counts too: an editable install holds its absolute path. Of pyproject.toml only what
# describes the package counts.
fingerprint() {
    { cat "requirements/$1.txt" setup.py && sed '/^# --- Settings/q' pyproject.toml && pwd; } | cksum
}

current() { [ "$(cat ".venv/setup-$1.stamp" 2>/dev/null)" = "$(fingerprint "$1")" ]; }

python_works() {
    "$python" -I -S -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null
}

has_uv() { uv --version >/dev/null 2>&1; }

# --no-deps: the lock is complete, and pip 23.0 refuses hashes together with extras.
# --no-compile: pip would spend a third of its time on modules that nobody imports; those
# that a run imports are compiled by load_all.
install() {
    if has_uv; then
        uv pip install --python "$python" --no-deps "$@"
    else
        "$python" -m pip install --disable-pip-version-check --no-input --no-compile --no-deps "$@"
    fi
}

# Some packages come as source only. Their builders are installed first, from the lock, and
# used with --no-build-isolation: otherwise the index is asked for whatever is newest today.
install_all() {
    has_uv || "$python" -m pip --version || "$python" -m ensurepip || return
    awk '/^[^ #]/ { builder = /^(setuptools|wheel)==/ } builder && !/^ *#/' \
        "requirements/$kind.txt" >.venv/builders.txt &&
        install --require-hashes -r .venv/builders.txt &&
        install --require-hashes --no-build-isolation -r "requirements/$kind.txt" &&
        install --no-build-isolation -e .
}

# The empty variable counts as unset: where it is set, no bytecode would ever be written,
# and every start of Python would take 9 s longer.
load_all() {
    PYTHONDONTWRITEBYTECODE='' TF_CPP_MIN_LOG_LEVEL=3 "$python" -W ignore requirements/check_imports.py
}

fail() {
    reason=$(grep -iE 'error|cause' "$log" | tail -n 1 | cut -c 1-160)
    # pip calls a package that it could not ask for "not found".
    if grep -qiE 'connection (broken|refused)|timed out|failed to fetch' "$log"; then
        reason="the package index did not answer ($reason)"
    fi
    say "$1 failed: $reason"
    if grep -qE "command '?[^ ]*(gcc|cc|clang|[gc]\+\+)'? failed" "$log"; then
        say "pyfarmhash is compiled here: get a C++ compiler (on Debian: apt install build-essential)."
    fi
    say "The whole output is in $log; when the cause is gone, the same command goes on."
    exit 1
}

if python_works && current "$kind"; then exit 0; fi

if [ -e "$unfinished" ] && kill -0 "$(cat "$unfinished")" 2>/dev/null; then
    say "Another set-up is at work in .venv (process $(cat "$unfinished"))."
    say "Start the same command again when it is done."
    exit 1
fi

if [ -e "$unfinished" ] || ! python_works; then
    base=$(sh requirements/find_python.sh)
    [ ! -e .venv ] || say "Replacing .venv: its set-up was cut short, or it has no working Python 3.10."
    # bin goes first, so that a removal cut short is seen by the next call.
    rm -rf .venv/bin
    rm -rf .venv
    mkdir .venv
    echo $$ >"$unfinished"
    "$base" -m venv --without-pip .venv >"$log" 2>&1 || fail "Making .venv with $base"
fi

echo $$ >"$unfinished"
for other in runtime dev; do
    current "$other" || rm -f ".venv/setup-$other.stamp"
done

say "Installing $(grep -c == "requirements/$kind.txt") packages into .venv (1 to 2 minutes) ..."
started=$(date +%s)
if ! install_all >"$log" 2>&1; then
    # What a finished runtime set-up installed is untouched by a failed step up to dev.
    ! current runtime || rm -f "$unfinished"
    fail "Installing the packages"
fi
current runtime || load_all >>"$log" 2>&1 || fail "Loading the packages"

fingerprint "$kind" >".venv/setup-$kind.stamp"
# The development lock holds everything of the runtime lock.
[ "$kind" = runtime ] || fingerprint runtime >.venv/setup-runtime.stamp
rm -f "$unfinished"
say "Done in $(($(date +%s) - started)) s."
