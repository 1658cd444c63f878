"""What the five papers share: reading, preparing, sampling, training, predicting, scoring and reporting."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up banner is not about the user's work
