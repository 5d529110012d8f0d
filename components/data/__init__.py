"""Raw files: finding, reading, cleaning and generating them."""
