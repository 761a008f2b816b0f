"""The one error that a user is meant to read, and one that the program recovers from."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one plain sentence: what was expected, what came, and what to do. The command
    line prints it without a traceback and ends with exit code 2.
    """


class IterationError(RuntimeError):
    """An iteration that gave nothing usable, such as a loss that is not a number.

    The message is the reason, in words that fit into "iteration 4: ...". The loop goes back to
    the iteration before and tries again with a smaller learning rate.
    """
