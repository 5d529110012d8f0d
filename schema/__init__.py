"""The feature table and the curated TFDV schema derived from it."""
