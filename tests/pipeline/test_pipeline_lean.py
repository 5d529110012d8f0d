"""What is saved in a process that runs many Beam pipelines."""

import weakref

from apache_beam.utils import shared

from pipeline.lean import release_memory


class Model:
    """Stands for what a component loads."""


def test_release_memory_lets_go_of_what_beam_keeps_for_the_next_bundle():
    token = shared.Shared()
    loaded = weakref.ref(token.acquire(Model))
    assert loaded() is not None, "Beam no longer keeps it: release_memory need not care"
    release_memory()
    assert loaded() is None


def test_what_is_still_used_survives_release_memory():
    token = shared.Shared()
    used = token.acquire(Model)
    release_memory()
    assert token.acquire(Model) is used
