"""The operator's log, on standard error: text for people, or one JSON object a line for machines."""

import json
import logging
from datetime import UTC, datetime

from vallum.settings import LogSettings

__all__ = ["configure_logging"]

# Key services' libraries: at debug level they write requests and answers, and with them keys, into the log.
_TELLS_WHAT_IT_SENDS = ("azure", "boto3", "botocore", "google", "grpc", "msal", "urllib3")

_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(settings: LogSettings) -> None:
    """For this process; a second call replaces the first."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each plug-in it loads
    for library in _TELLS_WHAT_IT_SENDS:
        logging.getLogger(library).setLevel(logging.WARNING)
