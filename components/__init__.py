"""Pipeline components: executors and the plain functions they call."""
