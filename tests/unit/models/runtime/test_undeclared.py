"""What a graph takes and gives, and how images lie in it: read from files that choose every byte of themselves."""

from contextlib import suppress

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vallum.kernel.errors import Invalid
from vallum.models.runtime.undeclared import configuration_of_onnx, layout_of, one_image
from vallum.models.scan.formats.onnx import MalformedModel
from vallum.models.scan.formats.onnx_values import graph_values


def model(takes=("n", 64), *, output="scores"):
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], [output])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, takes),
         helper.make_tensor_value_info("w", TensorProto.FLOAT, (64, 3))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("n", 3))],
        [numpy_helper.from_array(np.ones((64, 3), np.float32), "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def test_a_weight_that_is_listed_is_no_input():
    takes, gives = graph_values(memoryview(model()))
    assert [(one.name, one.element, one.shape) for one in takes] == [("x", 1, (-1, 64))]
    assert [(one.name, one.element, one.shape) for one in gives] == [("scores", 1, (-1, 3))]


def test_noise_is_refused_and_nothing_else():
    raw, random = model(), np.random.default_rng(3)
    for _ in range(2_000):
        changed = bytearray(raw)
        for at in random.integers(0, len(raw), 1 + random.integers(4)):
            changed[at] = random.integers(256)
        with suppress(MalformedModel):
            graph_values(memoryview(bytes(changed[: random.integers(1, len(raw) + 1)])))


def test_two_graphs_are_no_model():
    with pytest.raises(MalformedModel, match="2 graphs"):
        graph_values(memoryview(model() + model()))


def test_a_file_that_is_cut_is_refused(tmp_path):
    file = tmp_path / "m.onnx"
    for raw in (b"", model()[:-5], b"\0" * 50):
        file.write_bytes(raw)
        with pytest.raises(Invalid):
            configuration_of_onnx(file, (8, 8, 1), "", "")


def test_names_that_no_configuration_may_hold_are_refused(tmp_path):
    file = tmp_path / "m m.onnx"
    file.write_bytes(model())
    with pytest.raises(Invalid, match="rename"):
        configuration_of_onnx(file, (8, 8, 1), "", "")


@pytest.mark.parametrize(
    ("shape", "image", "wanted", "layout"),
    [
        ((-1, 64), (8, 8, 1), "", "flat"),
        ((-1, 8, 8), (8, 8, 1), "", "rows"),
        ((-1, 3, 8, 8), (8, 8, 3), "", "channels-first"),
        ((1, 8, 8, 3), (8, 8, 3), "", "channels-last"),
        ((-1, -1, -1, -1), (8, 8, 3), "channels-first", "channels-first"),
        (None, (8, 8, 3), "flat", "flat"),
    ],
)
def test_images_lie_as_their_sizes_say(shape, image, wanted, layout):
    assert layout_of(shape, image, wanted) == layout
    assert np.prod(one_image(layout, image)) == np.prod(image)


@pytest.mark.parametrize(
    ("shape", "image", "wanted", "said"),
    [
        ((-1, -1, -1, -1), (8, 8, 3), "", "--layout channels-first, channels-last"),
        (None, (8, 8, 1), "", "leaves open"),
        ((-1, 64), (8, 8, 3), "", "bring them to its size"),
        ((-1, 8, 8), (8, 8, 3), "", "bring them to its size"),
        ((-1, 64), (8, 8, 1), "rows", "another --layout"),
        ((-1, 64), (8, 8, 1), "up", "--layout: flat"),
    ],
)
def test_what_is_open_or_does_not_fit_is_refused(shape, image, wanted, said):
    with pytest.raises(Invalid, match=said):
        layout_of(shape, image, wanted)
