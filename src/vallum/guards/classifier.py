"""Sequence classifiers as ONNX files: a judge beside the injection guard, or a guard by itself. Needs the extra `onnx`.

The folder is what exporters of the field write: `model.onnx`, `tokenizer.json`, and `config.json` with the names of the
labels. The model is loaded only when its SHA-256 is the one that was declared; it runs on one core, on a text cut into
stretches, of which the worst counts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import exp, isfinite, log
from pathlib import Path
from typing import Any

from vallum.guards.port import Finding
from vallum.guards.segment import Channel
from vallum.guards.sentences import SentenceCursor, moved, sentences
from vallum.kernel.errors import IntegrityError, Invalid

__all__ = ["ClassifierGuard", "ClassifierMismatch", "OnnxClassifier", "digest_of"]

MAX_STRETCHES = 8
_TELLING_LABEL = re.compile(
    r"(?<!not.)(?<!non.)(?:inject|jailbreak|attack|malicious|unsafe|harmful|poison|toxic|hate|offens|abus|obscen|insult)",
    re.IGNORECASE,
)
_USUAL_TOKENS = 512
_NOTHING = -60.0  # the logit of a text without a word
_FILES = ("model.onnx", "tokenizer.json", "config.json")


class ClassifierMismatch(IntegrityError):
    """A classifier's files are not those that were declared."""

    code = "guard_classifier_mismatch"


def digest_of(folder: Path) -> str:
    """SHA-256 over the files' own digests, in the order model, tokenizer, configuration. Raises Invalid."""
    return _digest(_read(folder))


def _digest(files: Mapping[str, bytes]) -> str:
    return sha256(b"".join(sha256(files[name]).digest() for name in _FILES)).hexdigest()


def _read(folder: Path) -> Mapping[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in _FILES}
    except OSError as e:
        raise Invalid(f"the folder holds {', '.join(_FILES)}; {folder}: {e.strerror}") from e


class OnnxClassifier:
    """Thread-safe. Its answer does not depend on the channel.

    Which label counts is told by its name (INJECTION, toxic, …), else it is the last. Where several may hold at once
    (`problem_type` is `multi_label_classification`), the likeliest counts.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        """`digest` is `digest_of` the folder that was looked at and meant.

        Raises Invalid for a folder that holds no such model, ClassifierMismatch for another one, and ImportError
        without the extra.
        """
        import numpy
        import onnxruntime
        from tokenizers import Tokenizer

        files = _read(folder)  # once: what is loaded is what was hashed
        if _digest(files) != digest:
            raise ClassifierMismatch(f"the classifier in {folder} is not the declared one: its digest differs")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._numpy = numpy
        try:
            # From the bytes, so that a file beside it is not drawn in as the model's external data.
            model = files["model.onnx"]
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self._tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
            config = json.loads(files["config.json"])
            labels = {int(number): str(name) for number, name in config.get("id2label", {}).items()}
        except Exception as e:
            raise Invalid(f"the classifier in {folder} cannot be loaded: {type(e).__name__}: {str(e)[:200]}") from e
        self._telling = next((n for n, name in sorted(labels.items()) if _TELLING_LABEL.search(name)), -1)
        self._many = config.get("problem_type") == "multi_label_classification"
        self._tokens = min(int(config.get("max_position_embeddings") or _USUAL_TOKENS), _USUAL_TOKENS)
        self._names = {given.name for given in self._session.get_inputs()}
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._tokens, stride=self._tokens // 4)

    def logit(self, text: str, channel: Channel = Channel.USER) -> float:
        """Above 0 for what the label says."""
        encoded = self._tokenizer.encode(text)
        if not encoded.ids:
            return _NOTHING
        stretches = [encoded, *encoded.overflowing]
        if len(stretches) > MAX_STRETCHES:  # evenly over the whole of it
            step = len(stretches) / MAX_STRETCHES
            stretches = [stretches[int(number * step)] for number in range(MAX_STRETCHES)]
        return max(self._weigh(stretch) for stretch in stretches)

    def _weigh(self, encoded: Any) -> float:
        given = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
        tensors = {n: self._numpy.array([v], dtype=self._numpy.int64) for n, v in given.items() if n in self._names}
        logits = [float(value) for value in self._session.run(None, tensors)[0][0]]
        if len(logits) == 1 or self._many:
            return max(logits)
        attack = logits[self._telling]
        others = [value for number, value in enumerate(logits) if number != self._telling % len(logits)]
        top = max(others)
        return attack - (top + log(sum(exp(value - top) for value in others)))


class ClassifierGuard:
    """What a classifier says of each sentence: a stream is judged as the whole is. Thread-safe."""

    version = "1"

    def __init__(self, name: str, classifier: OnnxClassifier, threshold: float = 0.5) -> None:
        """`threshold` is from 0 to 1."""
        self.name = name
        self._classifier = classifier
        self._least = log(threshold / (1 - threshold))

    def find(self, text: str) -> Sequence[Finding]:
        return [f for start, end in sentences(text, final=True) for f in moved(self._find(text[start:end]), start)]

    def cursor(self) -> SentenceCursor:
        return SentenceCursor(self._find)

    def _find(self, sentence: str) -> list[Finding]:
        if not sentence.strip():
            return []
        logit = self._classifier.logit(sentence.encode("utf-8", "replace").decode())
        if isfinite(logit) and logit < self._least:
            return []
        score = 1 / (1 + exp(-max(-60.0, min(60.0, logit)))) if isfinite(logit) else 1.0
        reason = f"the classifier {self.name} says so"
        return [Finding(self.name, self.version, self.name, 0, len(sentence), round(score, 4), reason)]
