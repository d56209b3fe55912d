"""The Ray side: which trial is next, where it runs, what its workers do."""
