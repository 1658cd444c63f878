"""What the five papers share: reading, preparing, sampling, training, predicting, scoring and reporting."""

import signal

from shared import startup

if startup.STOPPABLE:
    signal.signal(signal.SIGINT, startup.leave())  # until `cli.one_line_errors` takes over
