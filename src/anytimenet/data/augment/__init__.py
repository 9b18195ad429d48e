"""Changes to training images, in whole batches."""
