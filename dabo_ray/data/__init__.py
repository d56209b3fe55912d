"""Labelled images: data sets, splits and batches."""
