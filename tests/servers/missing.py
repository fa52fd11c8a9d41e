"""What is said when a server can't be had."""


class Missing(Exception):
    """A server or tool is not on this machine, or can't be put there; one line says which and why."""
