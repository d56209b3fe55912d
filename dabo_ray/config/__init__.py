"""A study file: its schema, how it is read and checked, and how it is described."""
