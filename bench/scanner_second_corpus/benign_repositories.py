"""Benign: whole repositories as people publish them, with cards, tokenizers and settings."""

import io
import json
from collections.abc import Iterator

import numpy

from .sample import Sample
from .templates import PLAIN

__all__ = ["CARD", "CONFIG", "json_of", "samples", "weights_of"]

CARD = """---
license: apache-2.0
language: en
tags: [text-classification]
datasets: [imdb]
metrics:
  - accuracy
---

# Sentiment, small

A small encoder, fine-tuned for three epochs. **Do not** use it for decisions about people.

```python
from transformers import pipeline
import os, subprocess  # only if you want to see what your GPU does

classify = pipeline("text-classification", model="us/sentiment-small")
print(classify("What a day!"), os.environ.get("CUDA_VISIBLE_DEVICES"))
subprocess.run(["nvidia-smi"], check=False)
```

| step | loss |
|------|------|
| 100  | 0.61 |
"""
CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "id2label": {"0": "bad", "1": "good"},
    "torch_dtype": "float32",
    "transformers_version": "4.46.0",
}


def weights_of() -> bytes:
    from safetensors.numpy import save

    return save({"encoder.weight": numpy.random.rand(16, 16).astype(numpy.float32)}, {"format": "pt"})


def json_of(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _word_tokenizer() -> bytes:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(
        ["import os and then eval the system", "a fine day"] * 4,
        trainers.BpeTrainer(vocab_size=80, special_tokens=["[UNK]"]),
    )
    return made.to_str(pretty=True).encode()


def _pieces() -> bytes:
    import sentencepiece

    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([CARD, *CARD.lower().splitlines()]),
        model_writer=file,
        vocab_size=120,
        hard_vocab_limit=False,
        minloglevel=3,
    )
    return file.getvalue()


def _hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    tensors, words = weights_of(), _word_tokenizer()
    base = {
        "README.md": CARD.encode(),
        "config.json": json_of(CONFIG),
        "model.safetensors": tensors,
        ".gitattributes": b"*.safetensors filter=lfs\n",
    }
    tokenizer = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": 512,
        "chat_template": PLAIN,
    }
    yield (
        "encoder with its tokenizer",
        {
            **base,
            "tokenizer.json": words,
            "tokenizer_config.json": json_of(tokenizer),
            "special_tokens_map.json": json_of({"unk_token": "[UNK]"}),
            "vocab.txt": b"[UNK]\nos\nsystem\neval\nexec\n",
        },
    )
    yield (
        "encoder with SentencePiece",
        {**base, "spiece.model": _pieces(), "tokenizer_config.json": json_of({"tokenizer_class": "T5Tokenizer"})},
    )
    yield (
        "merges and a vocabulary",
        {
            **base,
            "merges.txt": b"#version: 0.2\no s\ns y\n",
            "vocab.json": json_of({"os": 0, "sys": 1, "__import__": 2}),
        },
    )
    parts = {f"model-0000{n}-of-00002.safetensors": tensors for n in (1, 2)}
    index = {
        "metadata": {"total_size": 2048},
        "weight_map": {"a.weight": next(iter(parts)), "encoder.weight": "model-00002-of-00002.safetensors"},
    }
    yield (
        "shards of safetensors",
        {
            "config.json": json_of(CONFIG),
            "model.safetensors.index.json": json_of(index),
            **parts,
            "README.md": CARD.encode(),
        },
    )
    yield (
        "adapter",
        {
            "adapter_config.json": json_of(
                {
                    "peft_type": "LORA",
                    "r": 8,
                    "lora_alpha": 16,
                    "target_modules": ["q_proj", "v_proj"],
                    "base_model_name_or_path": "meta-llama/Llama-3.1-8B",
                }
            ),
            "adapter_model.safetensors": tensors,
        },
    )
    yield (
        "diffusion pipeline",
        {
            "model_index.json": json_of(
                {
                    "_class_name": "StableDiffusionPipeline",
                    "unet": ["diffusers", "UNet2DConditionModel"],
                    "scheduler": ["diffusers", "PNDMScheduler"],
                }
            ),
            "unet/config.json": json_of({"_class_name": "UNet2DConditionModel", "sample_size": 8}),
            "unet/diffusion_pytorch_model.safetensors": tensors,
            "scheduler/scheduler_config.json": json_of({"_class_name": "PNDMScheduler", "beta_start": 0.00085}),
        },
    )
    yield (
        "sentence encoder",
        {
            **base,
            "modules.json": json_of(
                [
                    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                ]
            ),
            "1_Pooling/config.json": json_of({"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}),
        },
    )
    yield (
        "generation settings",
        {
            **base,
            "generation_config.json": json_of({"temperature": 0.7, "top_p": 0.9, "eos_token_id": 2}),
            "preprocessor_config.json": json_of({"image_mean": [0.5], "do_resize": True}),
        },
    )
    yield (
        "licence and metrics",
        {
            **base,
            "LICENSE": b"Apache License\nVersion 2.0\n",
            "all_results.json": json_of({"eval_loss": 0.41, "exec_time": 3}),
            "trainer_state.json": json_of({"epoch": 3.0, "log_history": [{"loss": 0.5, "step": 10}]}),
        },
    )


def samples() -> Iterator[Sample]:
    try:
        for name, files in _hub():
            yield Sample("benign: hub repositories", name, files)
    except ImportError:
        return
