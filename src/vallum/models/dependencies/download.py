"""Fetching an export of advisories over HTTPS, to a bound, into a file.

The transport is all that says where it came from, so plain HTTP is refused but for this machine itself. What arrives is
an export like any other: `import_advisories` reads it, and refuses what is cut short, older or far less.
"""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["PYPI_EXPORT", "fetch_export"]

PYPI_EXPORT = "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"
MAX_DOWNLOAD_BYTES = 2 << 30  # the export of PyPI is some hundred times smaller
_CHUNK_BYTES = 1 << 20


def fetch_export(url: str, file: Path, *, timeout_seconds: float = 600.0) -> int:
    """Write what is at `url` to `file`, which must not be there; its bytes. Raises Invalid, Unavailable."""
    from pyreqwest.client import SyncClientBuilder
    from pyreqwest.exceptions import PyreqwestError

    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        raise Invalid("advisories come over https")
    builder = SyncClientBuilder().user_agent("vallum").timeout(timedelta(seconds=timeout_seconds))
    builder = builder.follow_redirects(False)
    size = 0
    try:
        with builder.build() as client, client.get(url).build_streamed() as response, open(file, "xb") as out:
            if response.status != 200:
                raise Unavailable(f"{parts.hostname} answered {response.status}")
            while chunk := response.body_reader.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_DOWNLOAD_BYTES:
                    raise Unavailable(f"{parts.hostname} sends more than {MAX_DOWNLOAD_BYTES >> 30} GiB")
                out.write(bytes(chunk))
    except PyreqwestError as e:
        raise Unavailable(f"{parts.hostname} cannot be reached, or did not send all") from e
    except OSError as e:
        raise Unavailable(f"{file} cannot be written: {e.strerror}") from e
    return size
