"""Training data: archives that are read in place, the pictures in them, samples, batches."""
