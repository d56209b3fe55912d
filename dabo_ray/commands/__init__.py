"""The commands: run a study, dry-run it, list studies; exit codes and signals of a process."""
