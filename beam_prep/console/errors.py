"""The errors that a user meets: one clear line, no traceback.

CxrflowError
├── UsageError   wrong command, config or input: exit code 2, nothing was done
├── RunError     the run itself failed: exit code 1
└── Terminated   SIGTERM; all was saved: exit code 143
"""


class CxrflowError(Exception):
    """An error that names the thing, what was expected, what was found and what to do."""

    exit_code = 1


class UsageError(CxrflowError):
    """The command or its configuration is wrong; found before any work started."""

    exit_code = 2


class RunError(CxrflowError):
    """The work was started and failed."""


class Terminated(CxrflowError):
    """The work was asked to stop by SIGTERM, and has saved what it had."""

    exit_code = 143  # as the shell has it for a process that SIGTERM ended
