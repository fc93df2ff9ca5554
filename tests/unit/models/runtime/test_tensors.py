"""Tensors in and out: whatever is accepted is what the model's process reads, to the bit."""

import struct
from array import array
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trained_models import configuration

from vallum.models.runtime.errors import InputRefused
from vallum.models.runtime.model import INTEGER_RANGES, OutputPolicy, OutputTensor
from vallum.models.runtime.obfuscation import given_outputs, obfuscated
from vallum.models.runtime.process import RawOutput
from vallum.models.runtime.tensors import Given, flattened, take_inputs, unpack

CODES = {
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
}


def model(datatype, shape=(-1,), **more):
    tensor = {"name": "x", "datatype": datatype, "shape": list(shape)} | more
    outputs = [{"name": "y", "datatype": "FP32"}]
    return configuration({"format": "onnx", "file": "m.onnx", "inputs": [tensor], "outputs": outputs})


def take(served, data, shape=None):
    datatype = served.inputs[0].datatype
    return take_inputs(served, [Given("x", datatype, shape or [len(data)], flattened("x", datatype, [], data))])


@pytest.mark.parametrize("datatype", sorted(CODES))
def test_the_whole_range_of_whole_numbers_and_not_one_more(datatype):
    low, high = INTEGER_RANGES[datatype]
    packed = take(model(datatype), [low, high, 1]).tensors["x"].numbers
    assert struct.unpack(f"<3{CODES[datatype]}", packed) == (low, high, 1)
    for wrong in (low - 1, high + 1, 10**400, 1.0, True, None, "1"):
        with pytest.raises(InputRefused, match="element 1"):
            take(model(datatype), [1, wrong])


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_floats_arrive_as_they_were_sent(values):
    packed = take(model("FP32"), values).tensors["x"].numbers
    assert array("f", packed).tolist() == values


@pytest.mark.parametrize(("datatype", "beyond"), [("FP16", 65520.0), ("FP32", 3.5e38), ("FP64", 10**309)])
def test_no_number_becomes_infinite_on_the_way(datatype, beyond):
    for wrong in (beyond, -beyond, inf, -inf):
        with pytest.raises(InputRefused, match="element 0"):
            take(model(datatype), [wrong])


def test_what_is_missing_is_nan_where_it_may_be():
    served = model("FP32", allow_missing=True, minimum=1, maximum=5)
    found = array("f", take(served, [None, 2, None]).tensors["x"].numbers).tolist()
    assert isnan(found[0])
    assert isnan(found[2])
    assert found[1] == 2
    with pytest.raises(InputRefused, match="element 1: must be from 1 to 5"):
        take(served, [None, 0])
    assert isnan(array("f", take(served, [None]).tensors["x"].numbers)[0])


def test_an_input_that_may_be_left_out_is_missing_in_every_row():
    document = {
        "format": "onnx", "file": "m.onnx", "outputs": [{"name": "y", "datatype": "FP32"}],
        "inputs": [{"name": "a", "datatype": "FP32", "shape": [-1]},
                   {"name": "b", "datatype": "FP32", "shape": [-1, 2], "required": False, "allow_missing": True}],
    }  # fmt: skip
    served = configuration(document)
    inputs = take_inputs(served, [Given("a", "FP32", [3], [1.0, 2.0, 3.0])])
    assert inputs.tensors["b"].shape == (3, 2)
    assert all(map(isnan, array("f", inputs.tensors["b"].numbers)))
    with pytest.raises(InputRefused, match=r"inputs\.a: the model needs this input"):
        take_inputs(served, [Given("b", "FP32", [1, 2], [1.0, 2.0])])
    with pytest.raises(InputRefused, match="same number of rows"):
        take_inputs(served, [Given("a", "FP32", [3], [1.0] * 3), Given("b", "FP32", [2, 2], [1.0] * 4)])
    with pytest.raises(InputRefused):
        take_inputs(served, [])


def test_a_shape_costs_nothing_by_itself():
    """Sizes whose product overflows, or that nobody could hold, are refused before anything is made of them."""
    served = model("FP32", (-1, -1, -1, -1))
    for shape in ([2**40] * 4, [10**30, 1, 1, 1], [1, 1, 1, 0], [2**19] * 4, [1, 1, 1], [1, 1, 1, 1, 1]):
        with pytest.raises(InputRefused):
            take_inputs(served, [Given("x", "FP32", shape, [1.0])])


@pytest.mark.parametrize(("text", "fits"), [("x" * 20, True), ("ü" * 10, True), ("ü" * 11, False), ("x" * 21, False)])
def test_the_length_of_a_text_counts_as_utf_8(text, fits):
    served = model("BYTES", max_length=20)
    if fits:
        assert take(served, [text]).tensors["x"].texts == [text]
    else:
        with pytest.raises(InputRefused, match="at most 20 bytes"):
            take(served, [text])


@pytest.mark.parametrize("data", [[[1, 2], [3]], [[1, 2], 3], [[1, 2, 3]], [[[1], [2]]], [1, [2]]])
def test_what_nests_otherwise_than_its_shape_is_refused(data):
    with pytest.raises(InputRefused):
        flattened("x", "INT64", [2, 2], data)


OUTPUT = OutputTensor("p", "FP32", "probabilities")


def test_an_answer_is_cut_out_of_its_batch_and_rounded():
    values = [0.111111, 0.5, 0.388889, 0.2, 0.2, 0.6, nan, inf, 0.5]
    raw = RawOutput((3, 3), memoryview(array("f", values).tobytes()), [])
    assert unpack(OUTPUT, raw, 1, 1)[1] == pytest.approx([0.2, 0.2, 0.6])
    shape, found = unpack(OUTPUT, raw, 1, 2)
    assert (shape, found[3:]) == ([2, 3], [None, None, 0.5])
    policy = OutputPolicy(round_digits=2, top_k=1)
    assert obfuscated(OUTPUT, [2, 3], found, policy) == [0.0, 0.0, 0.6, 0.0, 0.0, 0.5]
    assert obfuscated(OUTPUT, [1, 3], [0.4, 0.4, 0.2], policy) == [0.4, 0.0, 0.0]
    assert obfuscated(OUTPUT, [1, 3], [0.123456] * 3, OutputPolicy(round_digits=None)) == [0.123456] * 3


def test_what_is_withheld_is_not_there():
    outputs = (OUTPUT, OutputTensor("s", "FP32", "logits"), OutputTensor("l", "INT64", "label"))
    assert [one.name for one in given_outputs(outputs, OutputPolicy())] == ["p", "l"]
    only = OutputPolicy(withhold=("logits", "probabilities"))
    assert [one.name for one in given_outputs(outputs, only)] == ["l"]


def test_configurations_that_do_not_fit_together_say_so():
    document = {
        "format": "xgboost", "file": "m.json", "trusted": ["a.b"],
        "inputs": [{"name": "a", "datatype": "BYTES", "shape": [-1], "minimum": 1},
                   {"name": "a", "datatype": "INT8", "shape": [-1, 0], "allow_missing": True, "required": False}],
        "outputs": [{"name": "s", "datatype": "FP32", "role": "logits", "source": "x"}],
        "architecture": [{"layer": "flatten"}], "extraction": {"mode": "alert"},
    }  # fmt: skip
    problems = "\n".join(configuration(document).problems())
    for said in (
        "a is declared more than once", "BYTES has no order", "at least 1, or -1", "no value that means missing",
        "architecture:", "trusted:", "outputs.source", "text is the only input", "every output is withheld",
        "extraction: a mode needs a reference", "may be left out",
    ):  # fmt: skip
        assert said in problems, said


@pytest.mark.parametrize("file", ["../m.onnx", "/etc/passwd", "a/../../b", ".hidden", "a//b", "a\\b", "", "x\0"])
def test_a_models_file_lies_in_its_folder(file):
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        configuration({
            "format": "onnx", "file": file, "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
            "outputs": [{"name": "y", "datatype": "FP32"}],
        })  # fmt: skip
