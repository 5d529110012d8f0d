"""Shows that the installed packages load on this machine."""

import importlib

for name in (
    "apache_beam",
    "tensorflow_data_validation",
    "tensorflow_model_analysis",
    "tensorflow_recommenders",
    "tfx.components",
    "tfx.orchestration.local.local_dag_runner",
    "rich.progress",
    "requests",
):
    importlib.import_module(name)
