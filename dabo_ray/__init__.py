"""Distributed hyperparameter studies of learned data augmentation (DABO) on Ray, Optuna and MLflow."""

__version__ = "0.1.0"
