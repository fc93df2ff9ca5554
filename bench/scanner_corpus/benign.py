"""What nobody should be stopped by: the models that the tests keep, models trained here, and ordinary texts."""

# ruff: noqa: E501  tables of names and texts, one a line

import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from scanner_corpus.formats import gguf, onnx, put, safetensors, saved_model
from scanner_corpus.sample import Sample

__all__ = ["samples"]

_TESTS = Path(__file__).parents[2] / "tests" / "unit" / "models" / "scan"
_LLAMA = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
_CHATML = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
_TOOLS = (
    "{%- if tools %}{{- '<tools>' }}{%- for tool in tools %}{{- tool | tojson(indent=4) }}{%- endfor %}{%- endif %}"
    "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}"
    "{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{%- endfor %}"
    "{{ strftime_now('%d %b %Y') }}{% macro render(x) %}{{ x | trim }}{% endmacro %}"
)  # fmt: skip
_TEXTS = {
    "config.json": json.dumps({"architectures": ["BertModel"], "hidden_size": 8, "model_type": "bert", "torch_dtype": "float32"}),
    "generation_config.json": json.dumps({"eos_token_id": 2, "do_sample": True, "temperature": 0.7}),
    "tokenizer_config.json": json.dumps({"tokenizer_class": "LlamaTokenizer", "chat_template": _LLAMA}),
    "chatml/tokenizer_config.json": json.dumps({"chat_template": [{"name": "default", "template": _CHATML}]}),
    "chat_template.jinja": _TOOLS,
    "special_tokens_map.json": json.dumps({"bos_token": "<s>", "eos_token": "</s>"}),
    "tokenizer.json": json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {"os": 1, "system": 2, "eval": 3, "exec": 4}, "merges": ["o s", "e x"]}}),
    "vocab.txt": "[PAD]\n[UNK]\nimport\nos\nsystem\nthe\n##ing\n",
    "merges.txt": "#version: 0.2\ni n\nt h\ne r\n",
    "model_index.json": json.dumps({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}),
    "preprocessor_config.json": json.dumps({"image_processor_type": "ViTImageProcessor", "size": 224}),
    "adapter_config.json": json.dumps({"peft_type": "LORA", "r": 8, "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "a/b"}),
    "README.md": "---\nlicense: apache-2.0\n---\n# Model\n\n```python\nfrom transformers import AutoModel\nmodel = AutoModel.from_pretrained('x')\n```\n\nRun `curl -O https://example.org/w.bin` to download.\n",
    "LICENSE": "Apache License\nVersion 2.0, January 2004\n" * 10,
    "requirements.txt": "torch>=2.0\nnumpy==1.26\nscikit-learn\n",
    "config.yaml": "model:\n  _target_: torch.nn.Linear\n  in_features: 4\n  out_features: 2\ntrainer:\n  epochs: 3\n",
    "train.yaml": "optimizer: adam\nlr: 1e-4\ncallbacks:\n  - early_stopping\npaths:\n  data: ./data\n",
    "MLmodel": "artifact_path: model\nflavors:\n  python_function:\n    env:\n      conda: conda.yaml\n    loader_module: mlflow.sklearn\n    model_path: model.skops\n  sklearn:\n    sklearn_version: 1.5.0\nutc_time_created: '2024-01-01'\n",
    "conda.yaml": "channels:\n- conda-forge\ndependencies:\n- python=3.10\n- pip:\n  - scikit-learn==1.5.0\n",
    "params.toml": "[training]\nlr = 0.1\nepochs = 4\n",
    "training.csv": "a,b,label\n1,2,cat\n3,4,dog\n",
    "labels.txt": "cat\ndog\n",
    "eval_results.json": json.dumps({"eval_loss": 0.3, "exec_time": 3.2}),
    "sentence_bert_config.json": json.dumps({"max_seq_length": 256}),
    "modules.json": json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]),
    "model.safetensors.index.json": json.dumps({"metadata": {"total_size": 16}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}),
    ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    "events.txt": "step 1 loss 0.5\nstep 2 loss 0.4\n",
}  # fmt: skip
_CODE = {
    "modeling.py": "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(4, 2)\n\n    def forward(self, x):\n        return self.l(x)\n",
    "train.py": "import argparse\nimport torch\n\n\ndef main():\n    parser = argparse.ArgumentParser()\n    parser.add_argument('--lr', type=float)\n    args = parser.parse_args()\n    model = torch.nn.Linear(2, 2)\n    model.train()\n    model.eval()\n    torch.save(model.state_dict(), 'model.pt')\n\n\nif __name__ == '__main__':\n    main()\n",
    "setup.py": "from setuptools import find_packages, setup\n\nsetup(name='x', version='1', packages=find_packages())\n",
    "example.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": ["import numpy as np\n", "np.zeros(3)"], "outputs": [], "metadata": {}}], "nbformat": 4, "metadata": {}}),
    "run.sh": "#!/bin/bash\nset -euo pipefail\npython train.py --lr 0.1\n",
}  # fmt: skip


def samples() -> Iterator[Sample]:
    for folder in ("benign", "trained"):
        for file in sorted((_TESTS / folder).iterdir()):
            yield Sample("benign", file.name, {file.name: file.read_bytes()})
    with zipfile.ZipFile(_TESTS / "corpus" / "benign_pickles.zip") as kept:
        for name in kept.namelist():
            yield Sample("benign", name, {name: kept.read(name)})
    for name, text in _TEXTS.items():
        yield Sample("benign", name, {name: text.encode()})
    for name, text in _CODE.items():
        yield Sample("benign code", name, {name: text.encode()})
    one = {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "__metadata__": {"format": "pt"}}
    linear = put(1, put(4, "Gemm")) + put(1, put(4, "Softmax") + put(7, "")) + put(2, "g")
    hand_made = {
        "small.safetensors": safetensors(one),
        "small.onnx": onnx(linear),
        "quantised.onnx": onnx(put(1, put(4, "QAttention") + put(7, "com.microsoft"))),
        "llama.gguf": gguf({"general.architecture": "llama", "tokenizer.chat_template": _LLAMA}),
        "chatml.gguf": gguf({"general.architecture": "qwen2", "general.name": "q", "tokenizer.chat_template": _CHATML}),
        "saved_model.pb": saved_model("MatMul", "VarHandleOp", "StatefulPartitionedCall", "RestoreV2", "SaveV2", "MergeV2Checkpoints", "StringJoin", "Pack", "NoOp", "Identity", "ReadVariableOp", "Relu", "BiasAdd"),
        "vision.pb": saved_model("Conv2D", "FusedBatchNormV3", "MaxPool", "DecodeJpeg", "ResizeBilinear", "HashTableV2", "LookupTableFindV2", "RaggedTensorToTensor", "While", "TensorListReserve", "Assert", library=True),
    }  # fmt: skip
    for name, content in hand_made.items():
        yield Sample("benign", name, {name: content})
    repository = {
        name: text.encode()
        for name, text in _TEXTS.items()
        if "/" not in name and name != "model.safetensors.index.json"
    }
    yield Sample("benign", "a repository", {**repository, "model.safetensors": safetensors(one)})
    for attempt in (_sklearn, _boosted, _torch, _tables):
        with suppress(ImportError):
            for name, content in attempt():
                yield Sample("benign", f"trained now: {name}", {name: content})


def _packed(name: str, model: Any) -> Iterator[tuple[str, bytes]]:
    for protocol in (2, 4, 5):
        yield f"{name}-{protocol}.pkl", pickle.dumps(model, protocol)
    import joblib

    for compress in (0, "zlib", "lzma"):
        buffer = io.BytesIO()
        joblib.dump(model, buffer, compress=compress)
        yield f"{name}-{compress}.joblib", buffer.getvalue()


def _sklearn() -> Iterator[tuple[str, bytes]]:
    from sklearn import (
        cluster,
        covariance,
        cross_decomposition,
        decomposition,
        ensemble,
        feature_selection,
        gaussian_process,
        impute,
        isotonic,
        kernel_approximation,
        linear_model,
        mixture,
        multiclass,
        multioutput,
        naive_bayes,
        neighbors,
        neural_network,
        preprocessing,
        random_projection,
        svm,
        tree,
    )  # fmt: skip
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.datasets import load_iris
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.pipeline import FeatureUnion, make_pipeline

    x, y = load_iris(return_X_y=True)
    models = {
        "extra": ensemble.ExtraTreesClassifier(5), "ada": ensemble.AdaBoostClassifier(n_estimators=4),
        "bagging": ensemble.BaggingClassifier(n_estimators=3), "stacking": ensemble.StackingClassifier([("a", naive_bayes.GaussianNB()), ("b", tree.DecisionTreeClassifier())]),
        "bayes": naive_bayes.GaussianNB(), "lda": LinearDiscriminantAnalysis(), "linear-svc": svm.LinearSVC(), "nu": svm.NuSVC(),
        "elastic": linear_model.ElasticNetCV(cv=3), "lasso": linear_model.LassoLars(), "huber": linear_model.HuberRegressor(),
        "perceptron": linear_model.Perceptron(), "passive": linear_model.SGDRegressor(), "ransac": linear_model.RANSACRegressor(),
        "radius": neighbors.RadiusNeighborsClassifier(9.0), "lof": neighbors.LocalOutlierFactor(novelty=True), "kde": neighbors.KernelDensity(),
        "mixture": mixture.GaussianMixture(2), "bayes-mixture": mixture.BayesianGaussianMixture(n_components=2), "process": gaussian_process.GaussianProcessClassifier(),
        "mini": cluster.MiniBatchKMeans(3, n_init=1), "birch": cluster.Birch(), "dbscan": cluster.DBSCAN(), "nmf": decomposition.NMF(2, max_iter=500),
        "svd": decomposition.TruncatedSVD(2), "ica": decomposition.FastICA(2), "lda-topics": decomposition.LatentDirichletAllocation(2),
        "cca": cross_decomposition.PLSRegression(2), "envelope": covariance.EllipticEnvelope(support_fraction=0.9), "isotonic": isotonic.IsotonicRegression(),
        "projection": random_projection.GaussianRandomProjection(2), "nystroem": kernel_approximation.Nystroem(n_components=9),
        "one-vs-rest": multiclass.OneVsRestClassifier(linear_model.LogisticRegression()), "multi": multioutput.MultiOutputRegressor(linear_model.Ridge()),
        "calibrated": CalibratedClassifierCV(naive_bayes.GaussianNB()), "search": RandomizedSearchCV(tree.DecisionTreeClassifier(), {"max_depth": [1, 2]}, n_iter=2),
        "target": TransformedTargetRegressor(linear_model.Ridge(), transformer=preprocessing.StandardScaler()),
        "union": make_pipeline(FeatureUnion([("p", decomposition.PCA(2)), ("k", feature_selection.SelectKBest(k=2))]), neural_network.MLPClassifier((4,), max_iter=2000)),
        "columns": make_pipeline(ColumnTransformer([("s", preprocessing.RobustScaler(), [0, 1]), ("q", preprocessing.QuantileTransformer(n_quantiles=9), [2])]), svm.SVC(probability=False)),
        "imputer": make_pipeline(impute.SimpleImputer(), preprocessing.PolynomialFeatures(2), preprocessing.PowerTransformer(), linear_model.LinearRegression()),
        "bins": make_pipeline(preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), linear_model.RidgeClassifier()),
        "one-hot": preprocessing.OneHotEncoder(), "ordinal": preprocessing.OrdinalEncoder(), "normalizer": preprocessing.Normalizer(), "spline": preprocessing.SplineTransformer(),
    }  # fmt: skip
    for name, model in models.items():
        target = x[:, :2] if name in ("multi", "cca") else y
        model.fit(x[:, 0] if name == "isotonic" else x, target)
        yield from _packed(f"sklearn-{name}", model)


def _boosted() -> Iterator[tuple[str, bytes]]:
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    with suppress(ImportError):
        import xgboost

        model = xgboost.XGBClassifier(n_estimators=3).fit(x, y)
        yield from _packed("xgboost", model)
        yield from _packed("xgboost-ranker", xgboost.XGBRFRegressor(n_estimators=2).fit(x, y))
        for kind in ("json", "ubj"):
            yield f"xgboost.{kind}", bytes(model.get_booster().save_raw(kind))
    with suppress(ImportError):
        import lightgbm

        grown = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(x, y)
        yield from _packed("lightgbm", grown)
        yield "lightgbm.txt", grown.booster_.model_to_string().encode()
    with suppress(ImportError):
        import tempfile

        import catboost

        fitted = catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False).fit(x, y)
        yield from _packed("catboost", fitted)
        for kind in ("cbm", "json"):
            with tempfile.NamedTemporaryFile(suffix=f".{kind}") as file:
                fitted.save_model(file.name, kind)
                yield f"catboost.{kind}", Path(file.name).read_bytes()


def _torch() -> Iterator[tuple[str, bytes]]:
    import torch
    from torch import nn

    nets = {
        "mlp": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2)),
        "convolution": nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "recurrent": nn.LSTM(4, 3, 2), "attention": nn.TransformerEncoderLayer(8, 2), "embedding": nn.EmbeddingBag(9, 4),
    }  # fmt: skip
    for name, net in nets.items():
        optimizer = torch.optim.AdamW(net.parameters())
        things = {"state": net.state_dict(), "module": net, "checkpoint": {"epoch": 3, "model": net.state_dict(), "optimizer": optimizer.state_dict()}}  # fmt: skip
        for kind, thing in things.items():
            for zipped in (True, False):
                buffer = io.BytesIO()
                torch.save(thing, buffer, _use_new_zipfile_serialization=zipped)
                yield f"torch-{name}-{kind}-{'zip' if zipped else 'legacy'}.pt", buffer.getvalue()
    buffer = io.BytesIO()
    torch.save(
        {"half": torch.ones(3).half(), "brain": torch.ones(3).bfloat16(), "sparse": torch.eye(3).to_sparse()}, buffer
    )
    yield "torch-kinds.pt", buffer.getvalue()


def _tables() -> Iterator[tuple[str, bytes]]:
    with suppress(ImportError):
        import pandas

        frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": pandas.to_datetime(["2024-01-01", "2024-01-02"])})
        frame["d"] = frame["b"].astype("category")
        yield from _packed("pandas", frame)
        yield from _packed("pandas-index", frame.set_index(["a", "b"]))
        yield from _packed("pandas-period", frame.c.dt.to_period("M"))
    with suppress(ImportError):
        import polars

        yield from _packed("polars", polars.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
