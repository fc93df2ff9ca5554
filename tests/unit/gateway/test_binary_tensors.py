"""The binary form of tensors: what goes in comes out, and no noise is more than a refusal."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vallum.gateway.protocols.binary_tensors import packed_answer, read_binary
from vallum.kernel.errors import Invalid

DTYPES = {
    "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4",
    "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "?",
}  # fmt: skip


def packed(datatype, values):
    answer = {"outputs": [{"name": "y", "datatype": datatype, "shape": [len(values)], "data": values}]}
    raw, length = packed_answer(answer, lambda name: True)
    return raw[: int(length)], raw[int(length) :]


@pytest.mark.parametrize("datatype", [*DTYPES, "BYTES"])
def test_what_goes_in_comes_out_and_is_numpys(datatype):
    values = {"BOOL": [True, False], "BYTES": ["é", "", "word"]}.get(datatype, [0, 1, 100])
    head, tail = packed(datatype, values)
    if datatype in DTYPES:
        assert np.frombuffer(tail, DTYPES[datatype]).tolist() == values
    else:
        assert tail == b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)
    (output,) = json.loads(head)["outputs"]
    document = {"inputs": [{"name": "x", "datatype": datatype, "parameters": output["parameters"]}]}
    front = json.dumps(document).encode()
    assert read_binary(front + tail, str(len(front)))["inputs"][0]["data"] == values


def test_what_no_number_is_is_missing_both_ways():
    _, tail = packed("FP32", [1.5, None])
    assert np.isnan(np.frombuffer(tail, "<f4")[1])
    front = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "parameters": {"binary_data_size": 8}}]}).encode()
    assert read_binary(front + tail, str(len(front)))["inputs"][0]["data"] == [1.5, None]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*DTYPES, "BYTES", "BF16", None, 3]), st.integers(-4, 40) | st.none() | st.text(max_size=2),
    st.binary(max_size=40), st.integers(-3, 3),
)  # fmt: skip
def test_no_noise_is_more_than_a_refusal(datatype, size, tail, shift):
    tensor = {"name": "x", "datatype": datatype, "shape": [1], "parameters": {"binary_data_size": size}}
    front = json.dumps({"inputs": [tensor]}).encode()
    try:
        found = read_binary(front + tail, str(len(front) + shift))
    except Invalid:
        return
    assert isinstance(found["inputs"][0].get("data"), list)
    assert size == len(tail)
