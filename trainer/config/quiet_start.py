"""Keeps the messages that TensorFlow prints while it loads off the console."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from beam_prep.console.errors import CxrflowError
from beam_prep.console.progress import say


@contextmanager
def quiet_start(*, show: bool = True) -> Iterator[None]:
    """Says that TensorFlow is loaded, and keeps the messages off the console that it prints meanwhile.

    They are shown if the user has set TensorFlow's log level, or if the block fails with an error that is not one of
    this project. The file descriptor is redirected, as TensorFlow writes to it before it reads its own log level.

    Args:
        show: False says nothing, as in a worker other than the chief.
    """
    say("loading TensorFlow …", show=show and "tensorflow" not in sys.modules)
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    with quiet_stderr():
        yield
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keeps what libraries write to stderr off the console, unless the block fails with an error that is not ours."""
    sys.stderr.flush()
    console = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except CxrflowError:  # its own line says enough
            raise
        except BaseException:
            said.seek(0)
            os.write(console, said.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(console, 2)
            os.close(console)
