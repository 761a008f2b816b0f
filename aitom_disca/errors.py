"""The one error that a user is meant to read."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one plain sentence: what was expected, what came, and what to do. The command
    line prints it without a traceback and ends with exit code 2.
    """


class NoPicksError(InputError):
    """A tomogram in which nothing passes the threshold."""
