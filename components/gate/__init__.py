"""AnomalyGate: stops the run before Transform if the data has anomalies of severity ERROR."""
