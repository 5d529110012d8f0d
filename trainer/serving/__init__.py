"""The exported model: its graph, lookup tables, signatures and descriptions."""
