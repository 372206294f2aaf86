class BenchError(Exception):
    """Something the user has to know; the message is the whole story."""


class UsageError(BenchError):
    """The command line asks for what does not exist."""
