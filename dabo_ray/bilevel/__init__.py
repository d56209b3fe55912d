"""The method: bilevel training of a classifier and its augmenter. Torch only."""
