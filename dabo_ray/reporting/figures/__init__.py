"""Figures of a report: every function gives pictures as data URIs, or none where there is nothing to show."""
