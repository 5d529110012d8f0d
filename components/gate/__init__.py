"""The gate: anomalies of severity ERROR stop the run before anything is trained on them."""
