"""Defines the errors that users see: one clear line, no traceback.

CxrflowError
├── UsageError   wrong command, config or input: exit code 2, nothing was done
├── RunError     the run itself failed: exit code 1
└── Terminated   stopped by SIGTERM, the state was saved: exit code 143
"""


class CxrflowError(Exception):
    """An error that names what is wrong, what was expected, what was found and what to do."""

    exit_code = 1


class UsageError(CxrflowError):
    """The command, its configuration or its input is wrong; no work was started."""

    exit_code = 2


class RunError(CxrflowError):
    """The work was started and failed."""


class Terminated(CxrflowError):
    """The work was stopped by SIGTERM, and has saved its state."""

    exit_code = 143  # the code that shells report for a process that SIGTERM ended
