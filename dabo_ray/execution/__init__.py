"""Trials on processes and workers: Ray Tune and Ray Train, checkpoints, faults. Ray, no Optuna."""
