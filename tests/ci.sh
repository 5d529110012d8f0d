#!/usr/bin/env bash
# What CI runs in a fresh clone (make ci): set-up, lint, all tests, and the pipeline on real data where
# MOVIELENS_DIR says where that is. Needs nothing but environment variables: MOVIES_METADATA_DIR and
# MOVIELENS_1M_DIR and MOVIELENS_SMALL_DIR are used where they are set.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

timings=()
failed=0
stage() {
    local name=$1 started=$SECONDS result=ok
    shift
    echo "=== $name"
    "$@" </dev/null || { result=FAILED && failed=1; }
    timings+=("$(printf '%-44s %6d s  %s' "$name" $((SECONDS - started)) "$result")")
    echo "=== ${timings[-1]}"
    [ "$result" = ok ]
}

# safe.directory: the clone may belong to another user than the one who runs CI.
untidy() { git -c safe.directory="$PWD" status --porcelain; }

# Tests of pages drive chromium, those of docs/nginx.conf nginx: Debian packages that no lock file
# can bring. Where they cannot be installed (no root, no network), a line says so and this step passes.
install_browser() {
    { command -v chromium || command -v chromium-browser; } && command -v nginx && return 0
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    { timeout 120 "${as_root[@]}" apt-get update -qq &&
        timeout 600 "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
            chromium fonts-dejavu-core nginx-light; } >"$scratch/apt.log" 2>&1 || {
        tail -n 3 "$scratch/apt.log"
        echo "chromium or nginx could not be installed: their tests are skipped, or fail where CI is set"
    }
}

run_tests() { make test-all 2>&1 | tee "$scratch/pytest.log"; }

run_on_real_data() {
    local expected=$1
    # && and not -e, which bash ignores inside a condition.
    make run ARGS="--dataset ml-100k --output-dir $scratch/output" &&
        .venv/bin/python - "$scratch/output/summary.json" "$expected" <<'PY'
import json, sys
path, expected = sys.argv[1:]
status = json.load(open(path, encoding="utf-8"))["status"]
sys.exit(None if status == expected else f"{path}: status {status!r}, expected {expected!r}")
PY
}

nothing_left_behind() {
    untidy >"$scratch/after"
    diff "$scratch/before" "$scratch/after" || {
        echo "The run made or changed these files and git does not ignore them."
        return 1
    }
}

untidy >"$scratch/before"
if stage "set up" make setup-dev; then
    stage "browser" install_browser
    stage "lint and tests" run_tests || true
    if [ -n "${MOVIELENS_DIR:-}" ]; then
        stage "real data, cold: pushed" run_on_real_data pushed &&
            stage "real data, again: up to date" run_on_real_data up_to_date || true
    else
        echo "=== no MOVIELENS_DIR: the run on real data is left out"
    fi
    stage "nothing left behind" nothing_left_behind || true
fi

if [ -e "$scratch/pytest.log" ]; then
    echo "=== pytest's summary"
    sed -n '/short test summary info\|^=.* in [0-9.]*s/,$p' "$scratch/pytest.log" | tail -n 60
fi
echo "=== timings"
printf '%s\n' "${timings[@]}"
exit "$failed"
