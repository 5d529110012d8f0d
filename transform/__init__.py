"""All feature logic: the preprocessing graph."""
