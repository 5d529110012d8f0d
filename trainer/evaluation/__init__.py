"""How the exported model is evaluated: predictions and ranks of known ratings."""
