"""Runs the pipeline on this machine: `.venv/bin/python local_runner.py --help`.

Written so that any Python from 3.6 on can read this file and say what is missing.
"""

import sys

import preflight

if __name__ == "__main__":
    # Help needs the standard library only, so no packages are required for it.
    wants_help = not {"-h", "--help"}.isdisjoint(sys.argv[1:])
    preflight.require("local_runner.py", "runtime", target="run", packages=not wants_help)
    from pipeline.cli import main

    sys.exit(main())
