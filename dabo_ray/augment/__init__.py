"""What changes an image: learned and hand-made augmentation, batched on the device. Torch only."""
