"""The one exception for what the caller got wrong."""


class UserError(ValueError):
    """A wrong argument, file or setting: one line that says what is wrong and what to do.

    The command line prints the message and exits with 2; any other exception is our bug.
    """
