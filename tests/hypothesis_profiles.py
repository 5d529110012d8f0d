"""How many examples property tests draw, and which: the profiles of hypothesis.

`ci` draws the same examples on every run, so that a test that passed once passes on the next
machine too; it is that of `make test-all`. `quick`, of the other tiers, draws a quarter of them.
`fuzz` draws others each time, and more of them; it is what `make fuzz` runs. HYPOTHESIS_PROFILE
chooses.
"""

import os

from hypothesis import HealthCheck, Phase, settings

CI_EXAMPLES = 100
FUZZ_FACTOR = 5
"""How many times as many examples a test draws in one round of `make fuzz`."""

SHARED = {
    "deadline": None,
    "print_blob": True,
    # A test must not fail because the machine has other things to do.
    "suppress_health_check": [HealthCheck.too_slow],
}

QUICK_EXAMPLES = 25
"""Of the fast and the standard tier, where a test has no number of its own."""

settings.register_profile(
    "quick", max_examples=QUICK_EXAMPLES, derandomize=True, database=None, **SHARED
)
settings.register_profile("ci", max_examples=CI_EXAMPLES, derandomize=True, database=None, **SHARED)
# derandomize is given because hypothesis takes it from the environment: CI sets it.
settings.register_profile(
    "fuzz", max_examples=FUZZ_FACTOR * CI_EXAMPLES, derandomize=False, **SHARED
)


def load_profile(tier):
    """Loads the profile that HYPOTHESIS_PROFILE names, else that of the tier of tests."""
    usual = "ci" if tier == "all" else "quick"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or usual)


def examples(number, *, shrink=True, **more):
    """Settings of a test that draws `number` examples by default, and more in `make fuzz`.

    A plain `max_examples` would hold in every profile. Where an example takes a second,
    looking for a smaller one that fails would take minutes: `shrink=False`.
    """
    if not shrink:
        more["phases"] = [phase for phase in Phase if phase is not Phase.shrink]
    scaled = number * settings.default.max_examples // CI_EXAMPLES
    return settings(max_examples=max(scaled, 1), **more)
