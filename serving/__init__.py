"""The application: serves the pushed model to people (a page) and programs (two HTTP APIs).

Needs TensorFlow and a web framework (`requirements/serving.in`), nothing of TFX.
"""
