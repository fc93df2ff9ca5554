"""What a model's own process says of what went wrong."""

import os
import socket
from threading import Thread

import pytest
from trained_models import CLASSIFIER, configuration

from vallum.models.runtime import child
from vallum.models.runtime.wire import Ask, Load, frame

pytest.importorskip("numpy")


def test_what_a_model_cannot_take_is_not_quoted():
    """A library's message is logged by the server, and may hold the input: content, which no log holds."""

    def predict(inputs):
        raise ValueError("could not convert string to float: 'Jane Doe'")

    settings = configuration(CLASSIFIER)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        serving = Thread(target=child._serve, args=(theirs.fileno(), settings, predict))
        serving.start()
        os.write(ours.fileno(), frame(Ask([])))
        said = ours.recv(4096)
        os.write(ours.fileno(), frame(Load(settings, "", 0, True)))  # no question: it ends
        serving.join(20)
    assert b"ValueError" in said
    assert b"Jane" not in said
