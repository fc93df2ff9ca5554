"""A model registry in memory, which keeps the promises that releases rely on: `tests/unit/releases/test_ports.py`."""

from dataclasses import dataclass, field, replace
from hashlib import sha256
from threading import Lock

from vallum.kernel.errors import Conflict, IntegrityError, NotFound
from vallum.kernel.policy import AssetFacts


@dataclass(frozen=True)
class Version:
    model: str
    number: int
    state: str
    digest: str
    verdict: str = "pass"
    signer: str | None = "key:builder"
    reviewed_by: str | None = None


@dataclass
class MemoryRegistry:
    versions: dict = field(default_factory=dict)
    contents: dict = field(default_factory=dict)
    models: dict = field(default_factory=dict)
    aliases: dict = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    # For tests.

    def add(self, model, number=1, content=b"weights", classification="internal", risk_class="limited", **changes):
        self.models[model] = (classification, risk_class)
        self.versions[model, number] = Version(model, number, "available", sha256(content).hexdigest(), **changes)
        self.contents[model, number] = content

    def change(self, model, number, **changes):
        self.versions[model, number] = replace(self.versions[model, number], **changes)

    # What releases ask.

    def version(self, conn, model, number):
        if (model, number) not in self.versions:
            raise NotFound(f"there is no {model}/{number}")
        return self.versions[model, number]

    def verify(self, model, number):
        version = self.version(None, model, number)
        if version.state != "available":
            raise Conflict(f"{model}/{number} is {version.state}")
        content = self.contents[model, number]
        if sha256(content).hexdigest() != version.digest:
            raise IntegrityError(f"{model}/{number} is not what was signed")
        return version, content

    def checkout(self, model, number, folder):
        version, content = self.verify(model, number)
        folder.mkdir(mode=0o700)
        (folder / "model.onnx").write_bytes(content)
        return version

    def set_alias(self, conn, model, alias, number):
        if self.version(conn, model, number).state != "available":
            raise Conflict(f"{model}/{number} may not run")
        self.aliases[model, alias] = number

    def facts(self, ref):
        if ref.kind != "RegisteredModel" or ref.id not in self.models:
            return None
        classification, risk_class = self.models[ref.id]
        return AssetFacts({"tenant": "default", "classification": classification, "risk_class": risk_class})
