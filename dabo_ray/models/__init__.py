"""Classifiers. Torch only."""
