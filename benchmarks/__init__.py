"""Commands that measure: `.venv/bin/python -m benchmarks.NAME --help` says what each needs."""

import sys

import preflight

# sys.argv[0] is "-m" until Python has found the module that it runs. The baselines of the
# comparison run in an environment of their own, which has other packages.
if sys.argv[0] == "-m" and "--baselines-stage" not in sys.argv:
    preflight.require("-m benchmarks.NAME", "runtime")
