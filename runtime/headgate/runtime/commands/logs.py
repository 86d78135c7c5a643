"""How the long-running commands log: one line per decision, on stderr."""

import logging
import sys


class StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment: the live view puts itself before it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send our log to stderr; what ZeroMQ's authenticator says about admitted keys is noise."""
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("headgate.keys").setLevel(max(level, logging.WARNING))
