"""Reading, cleaning and generating data: the only package that holds file formats."""
