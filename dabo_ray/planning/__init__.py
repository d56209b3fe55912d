"""The plan of a study: trials, their order, their settings and their budget. Optuna, no Ray."""
