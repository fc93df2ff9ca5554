"""The manifest: everything that a release is, in one value with one encoding.

The canonical form is JSON with sorted keys, no white space, UTF-8, and every field written out: a default that a later
Vallum changes must not change what was signed. Decoding refuses what is not exactly that form, so that two texts never
mean the same release. There is no time in it and no id: what is declared alike has the same digest.

What an earlier Vallum signed stays what it was: a field that was added since is named in `ADDED`, and decoding takes
the form without it, too. Such a field's default says what held before there was one, and never changes; no field is
ever taken away. `tests/unit/releases/manifests` holds one of each form, so that forgetting this fails a test, and
withdraws nobody's environment.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from hashlib import sha256
from math import isfinite
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vallum.inventory import CLASSIFICATIONS, Application, Guards, Limits, Name
from vallum.models.runtime.model import ServingConfiguration
from vallum.releases.errors import ManifestRefused, ReleaseBroken

__all__ = [
    "ADDED",
    "RISK_CLASSES",
    "SYSTEM_PROMPT",
    "ApplicationPolicy",
    "Declaration",
    "DeclaredIndex",
    "DeclaredModel",
    "DeclaredPrompt",
    "Manifest",
    "ManifestIndex",
    "ManifestModel",
    "Product",
    "PromptDigest",
    "application_policy",
    "canonical_json",
    "decode_manifest",
    "differing_fields",
    "encode_manifest",
    "guard_digest",
    "highest",
    "index_version",
    "manifest_digest",
    "not_enforceable",
    "prompt_digests",
    "same_policy",
    "with_policy",
]

Classification = Literal["public", "internal", "confidential", "restricted"]
RiskClass = Literal["minimal", "limited", "high"]
RISK_CLASSES: tuple[RiskClass, ...] = ("minimal", "limited", "high")

Product = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Number = Annotated[int, Meta(ge=1, le=2**31)]
MAX_PROMPT_CHARS = 262_144
SYSTEM_PROMPT = "system"
MAX_PARTS = 200
_INDEX = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}/[1-9][0-9]{0,8}", re.ASCII)


class _Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class DeclaredModel(_Whole, frozen=True):
    """A version in the registry. `serving` says how it is served; without it, it is part of the release only."""

    name: Name
    version: Number
    serving: ServingConfiguration | None = None


class DeclaredPrompt(_Whole, frozen=True):
    name: Name
    text: Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT_CHARS)]


class DeclaredIndex(_Whole, frozen=True):
    """What is retrieved from: a governed data set's version, NAME/NUMBER. Its digest is looked up; one that is named
    here has to be that."""

    name: Name
    digest: Digest | None = None


class Declaration(_Whole, frozen=True):
    """What somebody asks to be built. Classes may be raised above those of the parts, never lowered."""

    product: Product
    application: Name | None = None
    classification: Classification = "public"
    risk_class: RiskClass = "minimal"
    models: Annotated[tuple[DeclaredModel, ...], Meta(max_length=MAX_PARTS)] = ()
    prompts: Annotated[tuple[DeclaredPrompt, ...], Meta(max_length=MAX_PARTS)] = ()
    tools: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()
    indexes: Annotated[tuple[DeclaredIndex, ...], Meta(max_length=MAX_PARTS)] = ()
    dependencies: Digest | None = None  # SHA-256 of the lock file

    def problems(self) -> Iterator[str]:
        parts = (
            ("models", [m.name for m in self.models]),
            ("prompts", [p.name for p in self.prompts]),
            ("tools", list(self.tools)),
            ("indexes", [i.name for i in self.indexes]),
        )
        for kind, names in parts:
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"{kind}: {name} is there more than once"
        for model in self.models:
            if model.serving is not None:
                yield from (f"models.{model.name}.serving.{problem}" for problem in model.serving.problems())
        if not self.models and self.application is None:
            yield "a release holds a model, an application's policy, or both"


class ManifestModel(_Whole, frozen=True):
    name: Name
    version: Number
    digest: Digest
    serving: ServingConfiguration | None


def not_enforceable(wanted: Declaration) -> Iterator[str]:
    """What would be signed and then ignored: nobody is told that something holds which nothing here holds to."""
    if wanted.application is None and (wanted.prompts or wanted.tools):
        yield "prompts, tools: not enforceable here without an application: name whose requests they are for"
    for prompt in wanted.prompts:
        if prompt.name != SYSTEM_PROMPT:
            what = f"the gateway joins one prompt, named {SYSTEM_PROMPT}, before an application's own"
            yield f"prompts.{prompt.name}: not enforceable here: {what}"
    for index in wanted.indexes:
        if index_version(index.name) is None:
            what = "an index is a version of a governed data set, NAME/NUMBER: vallum data intake makes one"
            yield f"indexes.{index.name}: not enforceable here: {what}"


def index_version(name: str) -> tuple[str, int] | None:
    """The data set and the number that an index's name says; None for a name of another kind."""
    dataset, _, number = name.partition("/")
    return (dataset, int(number)) if _INDEX.fullmatch(name) else None


class ManifestIndex(_Whole, frozen=True):
    """`digest` is that of the data set's version, over where its rows come from and what they are."""

    name: Name
    digest: Digest


class PromptDigest(_Whole, frozen=True):
    """The template itself lies sealed beside the release."""

    name: Name
    sha256: Digest


class ApplicationPolicy(_Whole, frozen=True):
    """What an application may do and what stands in its way, as it was when the release was built.

    Whether it is enabled is no part of it: that is the switch in an emergency, and no deployment turns it on again.
    """

    name: Name
    classification: Classification
    models: tuple[Name, ...]
    guards: Guards
    guard_digest: Digest
    limits: Limits
    limits_per_key: Limits
    limits_per_model: dict[str, Limits]
    when_counters_fail: Literal["refuse", "local"]


class Manifest(_Whole, frozen=True):
    """One release. `policy` is the digest of the Cedar set that was in force, `dependencies` of the lock file."""

    v: Literal[1]
    product: Product
    classification: Classification
    risk_class: RiskClass
    application: ApplicationPolicy | None
    models: tuple[ManifestModel, ...]
    prompts: tuple[PromptDigest, ...]
    tools: tuple[Name, ...]
    indexes: tuple[ManifestIndex, ...]
    policy: Digest
    dependencies: Digest | None

    def model(self, name: str) -> ManifestModel | None:
        return next((model for model in self.models if model.name == name), None)


ADDED: tuple[frozenset[tuple[str, str]], ...] = ()
"""The name of a struct and of its field, for each form of version 1 that was given up; the oldest last."""

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """The canonical bytes. Raises ManifestRefused for a number that JSON does not know."""
    return canonical_json(manifest)


def decode_manifest(raw: bytes) -> Manifest:
    """Raises ReleaseBroken for bytes that `encode_manifest` does not make, and did not make before."""
    try:
        manifest = _decoder.decode(raw)
        if encode_manifest(manifest) != raw and not _is_of_before(manifest, raw):
            raise ReleaseBroken("the manifest is not in its canonical form")
    except msgspec.ValidationError as e:
        what = "another version of Vallum made it, or nobody did"
        raise ReleaseBroken(f"this is no manifest that this version knows ({str(e)[:200]}): {what}") from e
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ManifestRefused) as e:
        raise ReleaseBroken("these bytes are no release's manifest") from e
    return manifest


def _is_of_before(manifest: Manifest, raw: bytes) -> bool:
    without: frozenset[tuple[str, str]] = frozenset()
    for added in ADDED:
        without |= added
        if _encoder.encode(_written_out(manifest, without)) == raw:
            return True
    return False


def manifest_digest(manifest: Manifest) -> str:
    return sha256(encode_manifest(manifest)).hexdigest()


def canonical_json(value: object) -> bytes:
    """Of a value with its defaults written out."""
    return _encoder.encode(_written_out(value))


def guard_digest(guards: Guards) -> str:
    return sha256(canonical_json(guards)).hexdigest()


def prompt_digests(prompts: tuple[DeclaredPrompt, ...]) -> tuple[PromptDigest, ...]:
    found = [PromptDigest(prompt.name, sha256(prompt.text.encode()).hexdigest()) for prompt in prompts]
    return tuple(sorted(found, key=lambda prompt: prompt.name))


def application_policy(name: str, application: Application) -> ApplicationPolicy:
    return ApplicationPolicy(
        name=name,
        classification=application.classification,
        models=tuple(sorted(application.models)),
        guards=application.guards,
        guard_digest=guard_digest(application.guards),
        limits=application.limits,
        limits_per_key=application.limits_per_key,
        limits_per_model=application.limits_per_model,
        when_counters_fail=application.when_counters_fail,
    )


def same_policy(one: ApplicationPolicy | None, other: ApplicationPolicy | None) -> bool:
    """By what they say: a digest that an earlier Vallum wrote is of fewer fields."""
    return _without_digest(one) == _without_digest(other)


def differing_fields(one: ApplicationPolicy, other: ApplicationPolicy) -> list[str]:
    """Names of what two policies say differently."""
    mine, theirs = _without_digest(one), _without_digest(other)
    return [name for name in ApplicationPolicy.__struct_fields__ if getattr(mine, name) != getattr(theirs, name)]


def _without_digest(policy: ApplicationPolicy | None) -> ApplicationPolicy | None:
    return None if policy is None else msgspec.structs.replace(policy, guard_digest="")


def with_policy(application: Application, policy: ApplicationPolicy) -> Application:
    """As a release has it. Owner, retention and whether it is enabled stay the application's own."""
    return msgspec.structs.replace(
        application,
        classification=policy.classification,
        models=policy.models,
        guards=policy.guards,
        limits=policy.limits,
        limits_per_key=policy.limits_per_key,
        limits_per_model=policy.limits_per_model,
        when_counters_fail=policy.when_counters_fail,
    )


def highest(classifications: Sequence[str], risk_classes: Sequence[str]) -> tuple[Classification, RiskClass]:
    """The strictest of each. An unknown class counts as the strictest there is."""
    return CLASSIFICATIONS[_highest(classifications, CLASSIFICATIONS)], RISK_CLASSES[
        _highest(risk_classes, RISK_CLASSES)
    ]


def _highest(found: Sequence[str], known: Sequence[str]) -> int:
    return max(known.index(one) if one in known else len(known) - 1 for one in found)


def _written_out(value: object, without: frozenset[tuple[str, str]] = frozenset()) -> Any:
    if isinstance(value, msgspec.Struct):
        config, kind = value.__struct_config__, type(value).__name__
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        fields = {
            encoded: _written_out(getattr(value, name), without)
            for name, encoded in names
            if (kind, name) not in without
        }
        return {**fields, config.tag_field: config.tag} if config.tag is not None else fields
    if isinstance(value, Mapping):
        return {key: _written_out(inner, without) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written_out(inner, without) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        raise ManifestRefused("a release holds finite numbers only")
    if isinstance(value, date):
        return value.isoformat()
    return value
