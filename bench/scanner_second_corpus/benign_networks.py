"""Benign: networks of torch and Keras, and TensorFlow's formats, made and trained a little
by the libraries themselves.
"""

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .sample import Sample

__all__ = ["folder_of", "samples"]


def folder_of(write: Callable[[Path], Any]) -> dict[str, bytes]:
    """What `write` writes into an empty folder, whose path it is given."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write(place)
        return {
            path.relative_to(place).as_posix(): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()
        }


def _torch() -> Iterator[tuple[str, dict[str, bytes]]]:
    import torch
    from torch import nn

    torch.manual_seed(0)

    def saved(value: object, name: str = "model.pt", **how: Any) -> dict[str, bytes]:
        file = io.BytesIO()
        torch.save(value, file, **how)
        return {name: file.getvalue()}

    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 3))
    optimiser = torch.optim.AdamW(net.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 10)
    losses = []
    for _ in range(5):
        loss = nn.functional.cross_entropy(net(torch.randn(16, 4)), torch.randint(0, 3, (16,)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    state = net.state_dict()
    yield "state dictionary", saved(state, "pytorch_model.bin")
    yield "state dictionary, older format", saved(state, "model.pth", _use_new_zipfile_serialization=False)
    yield (
        "checkpoint with its optimiser",
        saved(
            {
                "model": state,
                "optimizer": optimiser.state_dict(),
                "scheduler": schedule.state_dict(),
                "epoch": 5,
                "losses": losses,
            },
            "checkpoint.pt",
        ),
    )
    yield "optimiser alone", saved(optimiser.state_dict(), "optimizer.pt")
    yield "half precision", saved({k: v.half() for k, v in state.items()}, "fp16.bin")
    yield "bfloat16, shared storage", saved({"a": (t := torch.zeros(8, dtype=torch.bfloat16)), "b": t[:4]}, "tied.bin")
    yield (
        "quantised tensor",
        saved({"q": torch.quantize_per_tensor(torch.randn(4), 0.1, 0, torch.qint8)}, "quantised.pt"),
    )
    yield (
        "sparse and complex tensors",
        saved({"s": torch.eye(3).to_sparse(), "c": torch.randn(2, dtype=torch.complex64)}),
    )
    yield (
        "parameters and a device",
        saved(
            {"p": nn.Parameter(torch.ones(2)), "d": torch.device("cpu"), "t": torch.float32, "s": torch.Size([1, 2])}
        ),
    )
    yield "recurrent state", saved(nn.LSTM(3, 5, 2).state_dict(), "lstm.pth")
    yield "transformer's state", saved(nn.TransformerEncoderLayer(8, 2, 16).state_dict(), "encoder.pth")
    yield "random state", saved({"torch": torch.get_rng_state()}, "rng_state.pth")
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(net.eval()), file)
    yield "TorchScript, scripted", {"scripted.pt": file.getvalue()}
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(net.eval(), torch.randn(2, 4)), file)
    yield "TorchScript, traced", {"traced.pt": file.getvalue()}
    index = {"metadata": {"total_size": 128}, "weight_map": dict.fromkeys(state, "pytorch_model-00001-of-00001.bin")}
    yield (
        "shards with an index",
        {
            "pytorch_model.bin.index.json": json.dumps(index).encode(),
            **saved(state, "pytorch_model-00001-of-00001.bin"),
        },
    )
    yield (
        "lightning-like checkpoint",
        saved(
            {
                "state_dict": state,
                "hyper_parameters": {"lr": 0.01, "layers": [4, 8, 3]},
                "epoch": 4,
                "global_step": 40,
                "pytorch-lightning_version": "2.4.0",
            },
            "epoch=4.ckpt",
        ),
    )


def _keras() -> Iterator[tuple[str, dict[str, bytes]]]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy
    import tensorflow

    layers = keras.layers
    dense = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, "relu"), layers.Dropout(0.1), layers.Dense(3, "softmax")]
    )
    dense.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    dense.fit(numpy.random.rand(32, 4), numpy.random.randint(0, 3, 32), epochs=1, verbose=0)
    image = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    token = keras.Input((6,), dtype="int32")
    attended = layers.Embedding(20, 8)(token)
    attended = layers.MultiHeadAttention(2, 4)(attended, attended)
    words = keras.Model(token, layers.Dense(2)(layers.Bidirectional(layers.GRU(4))(attended)))
    lookup = keras.Sequential(
        [keras.Input((1,), dtype="string"), layers.StringLookup(vocabulary=["cat", "dog"]), layers.Embedding(4, 2)]
    )
    for name, model in (("dense", dense), ("image", image), ("words", words), ("lookup of words", lookup)):
        yield f"Keras 3, {name}", folder_of(lambda place, model=model: model.save(place / "model.keras"))
    for name, model in (("dense", dense), ("image", image)):
        yield f"HDF5, {name}", folder_of(lambda place, model=model: model.save(place / "model.h5"))
    yield "weights alone", folder_of(lambda place: words.save_weights(place / "model.weights.h5"))
    yield "architecture alone", {"model.json": image.to_json().encode()}
    for name, model in (("dense", dense), ("words", words)):
        yield f"SavedModel, {name}", folder_of(lambda place, model=model: model.export(str(place), verbose=False))
    module = tensorflow.Module()
    module.v = tensorflow.Variable([1.0, 2.0])
    module.run = tensorflow.function(
        lambda x: x * module.v, input_signature=[tensorflow.TensorSpec([2], tensorflow.float32)]
    )
    yield "SavedModel of a function", folder_of(lambda place: tensorflow.saved_model.save(module, str(place)))
    yield (
        "checkpoint of TensorFlow",
        folder_of(lambda place: tensorflow.train.Checkpoint(m=dense).save(str(place / "ckpt"))),
    )
    convert = tensorflow.lite.TFLiteConverter.from_concrete_functions
    yield "TFLite", {"model.tflite": convert([module.run.get_concrete_function()], module).convert()}
    graph = module.run.get_concrete_function().graph.as_graph_def()
    yield "graph of TensorFlow", {"graph.pb": graph.SerializeToString()}


def samples() -> Iterator[Sample]:
    for group, made in (("benign: torch", _torch()), ("benign: keras and tensorflow", _keras())):
        try:
            for name, files in made:
                yield Sample(group, name, files)
        except ImportError:
            continue
