"""Lineage."""

from __future__ import annotations

from components.report.context import Context
from components.report.page import Note, Section


def build(context: Context) -> Section:
    """Returns the section."""
    return Section("lineage", "Lineage", "", (), (Note("Not made yet."),))
