"""How many files and connections a process may have open."""


def allow_many() -> None:
    """Raise the soft limit to the hard one: the usual 1,024 is fewer than a router's callers."""
    try:
        import resource  # noqa: PLC0415  (not on Windows)
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
