"""Image augmentation, learned and fixed, batched on the device. Torch only."""
