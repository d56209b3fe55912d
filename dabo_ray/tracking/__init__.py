"""Tracking of a study: its MLflow runs, its progress on the terminal, its provenance."""
