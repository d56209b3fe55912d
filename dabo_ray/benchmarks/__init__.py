"""What `python -m dabo_ray.bench` measures, a module for each subject."""
