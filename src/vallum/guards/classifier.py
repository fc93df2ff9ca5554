"""Sequence classifiers as ONNX files: a judge beside the injection guard, or a guard by itself. Needs the extra `onnx`.

The folder is what exporters of the field write: `model.onnx`, `tokenizer.json`, and `config.json` with the names of the
labels. The model is loaded only when its SHA-256 is the one that was declared; it runs on one core, on a text cut into
stretches, of which the worst counts.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import exp, isfinite, log
from pathlib import Path
from typing import Any

from vallum.guards.port import Finding
from vallum.guards.segment import Channel
from vallum.guards.sentences import SentenceCursor, moved, sentences
from vallum.kernel.errors import IntegrityError, Invalid

__all__ = ["ClassifierGuard", "ClassifierMismatch", "OnnxClassifier", "digest_of", "labels_in"]

MAX_STRETCHES = 8
_USUAL_TOKENS, _FEWEST_TOKENS = 512, 8
_NOTHING = -60.0  # the logit of a text without a word
_FILES = ("model.onnx", "tokenizer.json", "config.json")


class ClassifierMismatch(IntegrityError):
    """A classifier's files are not those that were declared."""

    code = "guard_classifier_mismatch"


def digest_of(folder: Path) -> str:
    """SHA-256 over the files' own digests, in the order model, tokenizer, configuration. Raises Invalid."""
    return _digest(_read(folder))


def labels_in(folder: Path) -> list[str]:
    """What the model may answer. Raises Invalid."""
    try:
        return _labels_of(json.loads(_read(folder)["config.json"]))
    except (ValueError, TypeError, AttributeError) as e:
        raise Invalid(f"{folder}: config.json is not that of a classifier") from e


def _digest(files: Mapping[str, bytes]) -> str:
    return sha256(b"".join(sha256(files[name]).digest() for name in _FILES)).hexdigest()


def _read(folder: Path) -> Mapping[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in _FILES}
    except OSError as e:
        raise Invalid(f"the folder holds {', '.join(_FILES)}; {folder}: {e.strerror}") from e


class OnnxClassifier:
    """Thread-safe. Its answer does not depend on the channel.

    Of several labels those that count are named by whoever declares the model: names alone do not say which are bad.
    Where several may hold at once (`problem_type` is `multi_label_classification`), the likeliest of them counts.
    """

    def __init__(self, folder: Path, digest: str, labels: Sequence[str] = ()) -> None:
        """`digest` is `digest_of` the folder that was looked at and meant; `labels` are those that make a finding.

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
            self._many = config.get("problem_type") == "multi_label_classification"
            self._telling = _telling(labels, _labels_of(config))
            tokens = int(config.get("max_position_embeddings") or _USUAL_TOKENS)
            self._tokens = min(max(tokens, _FEWEST_TOKENS), _USUAL_TOKENS)
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(self._tokens, stride=self._tokens // 4)
        except Invalid:
            raise
        except Exception as e:
            raise Invalid(f"the classifier in {folder} cannot be loaded: {type(e).__name__}: {str(e)[:200]}") from e
        self._names = {given.name for given in self._session.get_inputs()}

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
        if not all(isfinite(logit) for logit in logits) or max(self._telling) >= len(logits):
            raise ValueError("the classifier did not answer with a finite number for each label")
        telling = [logits[number] for number in self._telling]
        if len(logits) == 1 or self._many:
            return max(telling)
        others = [logit for number, logit in enumerate(logits) if number not in self._telling]
        return _log_sum(telling) - _log_sum(others)


def _labels_of(config: Mapping[str, Any]) -> list[str]:
    """The labels of a model's config.json, in the order of its answers; one without a name where there are none."""
    named = {int(number): str(name) for number, name in config.get("id2label", {}).items()}
    return [named.get(number, f"LABEL_{number}") for number in range(max(named, default=0) + 1)]


def _telling(wanted: Sequence[str], labels: Sequence[str]) -> frozenset[int]:
    """Raises Invalid for a label that the model does not have, and where all or none of several would count."""
    unknown = sorted(set(wanted) - set(labels))
    if unknown or (not wanted and len(labels) > 1) or len(set(wanted)) >= max(len(labels), 2):
        raise Invalid(f"labels: name those of the model's that make a finding; it has {', '.join(labels)}")
    return frozenset(number for number, label in enumerate(labels) if label in wanted or not wanted)


def _log_sum(logits: Sequence[float]) -> float:
    top = max(logits)
    return top + log(sum(exp(logit - top) for logit in logits))


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
        if logit < self._least:
            return []
        score = 1 / (1 + exp(-max(-60.0, min(60.0, logit))))
        reason = f"the classifier {self.name} says so"
        return [Finding(self.name, self.version, self.name, 0, len(sentence), round(score, 4), reason)]
