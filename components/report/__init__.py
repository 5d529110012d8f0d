"""The report: one page per run that opens offline, by double-click."""
