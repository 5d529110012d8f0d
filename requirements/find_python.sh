#!/bin/sh
# Prints the path of a Python 3.10, or says in two lines how to get one.
set -u

# A pyenv shim is on PATH even where its version is not selected: only running it tells.
# Inside a virtual environment the answer is the interpreter beneath it, which stays.
try() {
    "$1" -I -c '
import os, sys
if sys.version_info[:2] != (3, 10):
    sys.exit(1)
in_venv = sys.prefix != sys.base_prefix
print(os.path.realpath(sys.executable) if in_venv else sys.executable)
' 2>/dev/null && exit 0
}

# --system: else uv answers with the .venv that is about to be replaced.
uv_finds() { UV_PYTHON_DOWNLOADS=never uv python find --system 3.10 2>/dev/null; }

pyenv_root=$(pyenv root 2>/dev/null || echo "${PYENV_ROOT:-${HOME:-}/.pyenv}")

for candidate in "$(uv_finds)" python3.10 python3 python \
    "$pyenv_root"/versions/3.10*/bin/python3.10; do
    try "$candidate"
done

if uv --version >/dev/null 2>&1; then
    echo "Downloading Python 3.10 with uv ..." >&2
    uv python install --quiet 3.10 >/dev/null 2>&1
    try "$(uv_finds)"
fi

echo "Python 3.10 is needed (TFX 1.15 runs on no newer one) and was not found with uv, on PATH or in pyenv." >&2
echo "Get it with 'uv python install 3.10' (https://docs.astral.sh/uv/) or 'pyenv install 3.10', then start the same command again." >&2
exit 1
