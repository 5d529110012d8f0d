"""`.venv/bin/python -m serving.batch`: recommendations for many users at once, into a file."""
