"""What the five papers share: reading, preparing, sampling, training, predicting, scoring and reporting."""
