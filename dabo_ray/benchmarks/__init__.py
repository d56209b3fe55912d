"""Benchmarks of `python -m dabo_ray.bench`, a module for each subject."""
