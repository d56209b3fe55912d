"""The commands: run a study, rehearse it, list studies; exit codes and signals of a process."""
