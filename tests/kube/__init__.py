"""The cases of tests/kubernetes.py: one file for each theme."""
