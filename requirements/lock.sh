#!/bin/sh
# Regenerates the lock files. As of a date, so that the result does not depend on the day:
# newer releases of what TFX 1.15 leaves open (protobuf users, cloud clients) break it.
# Versions in the present locks are kept; `sh requirements/lock.sh --upgrade` lets them move.
set -eu
cd "$(dirname "$0")/.."

uv=uv
if ! uv --version >/dev/null 2>&1; then
    tool=$(mktemp -d)
    trap 'rm -rf "$tool"' EXIT
    base=$(sh requirements/find_python.sh)
    "$base" -m venv "$tool"
    "$tool/bin/python" -m pip install --quiet --disable-pip-version-check uv
    uv=$tool/bin/uv
fi

# These may be newer: their later releases mend known vulnerabilities (make audit, docs/security.md).
mended="annotated-doc certifi fastapi idna jupyter-server jupyterlab mistune nbconvert notebook orjson pillow
pyasn1 requests starlette tornado urllib3 werkzeug filelock pip pip-audit"
# Altair 6.2 and what it needs: its schema is that of the Vega-Lite in the report's page.
for package in $mended altair narwhals; do
    set -- "$@" --exclude-newer-package "$package=2026-11-01"
done

compile() {
    kind=$1
    shift
    "$uv" pip compile --quiet --python-version 3.10 --exclude-newer 2025-09-01 \
        --generate-hashes --no-strip-extras --no-emit-index-url \
        --custom-compile-command "make lock" "$@" \
        "requirements/$kind.in" -o "requirements/$kind.txt"
}

compile runtime "$@"
compile dev "$@"
# For a machine that only serves: the same versions, without the pipeline's packages.
compile serving -c requirements/runtime.txt "$@"
# What `make compare` measures against: the TFX stack's versions where it shares them.
compile compare -c requirements/runtime.txt "$@"
# What `make docs` builds the site with.
compile docs "$@"
