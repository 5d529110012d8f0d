"""The training data: reading it, its arrays, batches of them."""
