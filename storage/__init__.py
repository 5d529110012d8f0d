"""Paths, listing and publishing of files: the one place that touches a disk by name.

The standard library only, so that every layer can use it, the server included.
"""
