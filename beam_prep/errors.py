"""The errors that a user meets: one clear line, no traceback.

CxrflowError
├── UsageError   wrong command, config or input: exit code 2, nothing was done
└── RunError     the run itself failed: exit code 1
"""


class CxrflowError(Exception):
    """An error that names the thing, what was expected, what was found and what to do."""

    exit_code = 1


class UsageError(CxrflowError):
    """The command or its configuration is wrong; found before any work started."""

    exit_code = 2


class RunError(CxrflowError):
    """The work was started and failed."""
