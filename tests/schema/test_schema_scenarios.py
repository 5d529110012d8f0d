"""The names that metrics get from their scenario."""

import doctest

from schema import scenarios


def test_a_metrics_name_begins_with_its_scenario():
    assert scenarios.metric_name(scenarios.IN_SESSION, "mrr") == "in_session_mrr"
    assert doctest.testmod(scenarios).failed == 0


def test_scenarios_have_names_of_their_own():
    assert [one.name for one in scenarios.SCENARIOS] == ["next_visit", "in_session"]
