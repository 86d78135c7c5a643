"""How the long-running commands log: one line per decision, on stderr."""

import logging


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send our log to stderr; what ZeroMQ's authenticator says about admitted keys is noise."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("headgate.keys").setLevel(max(level, logging.WARNING))
