"""Results of a study: summary, statistics, verdict, importance of settings, Pareto front."""
