"""Configuration, wiring and running of the pipeline; only the runners import it."""
