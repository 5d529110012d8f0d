"""The TFRS model, its training and its export."""
