import json
import logging

import pytest

from vallum.serving.logs import configure_logging
from vallum.settings import LogSettings


@pytest.fixture(autouse=True)
def as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_lines_hold_one_object_each(capsys):
    configure_logging(LogSettings(level="info", format="json"))
    logging.getLogger("vallum.test").debug("not shown")
    logging.getLogger("vallum.test").warning("two\nlines")
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("vallum.test").exception("failed")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("warning", "vallum.test", "two\nlines")
    assert "ValueError" in second["error"]


def test_text_is_for_people(capsys):
    configure_logging(LogSettings(level="warning"))
    logging.getLogger("vallum.test").warning("look here")
    out = capsys.readouterr()
    assert "WARNING vallum.test look here" in out.err
    assert out.out == ""


def test_libraries_that_would_log_what_they_send_to_a_key_service_are_kept_quiet(capsys):
    configure_logging(LogSettings(level="debug"))
    for library in ("botocore.endpoint", "urllib3.connectionpool", "azure.core.pipeline", "google.auth", "msal"):
        logging.getLogger(library).debug("a request with a key in it")
        logging.getLogger(library).info("a request with a key in it")
    assert "a key in it" not in capsys.readouterr().err
