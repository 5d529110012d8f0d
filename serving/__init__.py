"""The application: serves the pushed model through a page, two REST APIs and batch scoring.

Needs TensorFlow and a web framework (`requirements/serving.in`), nothing of TFX.
"""
