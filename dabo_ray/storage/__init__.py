"""Files: the layout of a study's folder, atomic writes, locks. Standard library and filelock."""
