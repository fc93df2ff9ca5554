"""What asking a model may end in."""

from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["InputRefused", "ModelBusy", "ModelFailed", "ModelLoading", "ModelTimeout", "ModelUnavailable"]


class InputRefused(Invalid):
    """An input is not what the model takes: the message names it, where in it, and what is allowed; never the value."""

    code = "input_refused"


class ModelBusy(Unavailable):
    """As many requests wait for the model as may."""

    code = "model_busy"


class ModelUnavailable(Unavailable):
    """The model is not loaded: it is being started again, or could not be."""

    code = "model_unavailable"


class ModelLoading(ModelUnavailable):
    """It is still being loaded, or is being replaced: that says nothing of the model."""


class ModelFailed(Unavailable):
    """The model could not answer this input, or answered what its configuration does not say."""

    code = "model_failed"


class ModelTimeout(Unavailable):
    """The model took longer than its configuration allows, and was stopped."""

    code = "model_timeout"
