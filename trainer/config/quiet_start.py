"""TensorFlow's first words, kept off the console."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from beam_prep.console.errors import CxrflowError


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps what TensorFlow says while it loads off the console, unless its log level was asked for or loading fails
    with another error than one of this project.

    It writes to the file descriptor, before it looks at its own log level.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    sys.stderr.flush()
    console = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
            import tensorflow as tf

            tf.config.list_physical_devices("GPU")
        except CxrflowError:  # which says it in its line
            raise
        except BaseException:
            said.seek(0)
            os.write(console, said.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(console, 2)
            os.close(console)
