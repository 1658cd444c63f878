"""From prepared cases to a trained network: layers, losses, examples, batches, training, inference, and others' weights."""
