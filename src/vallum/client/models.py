"""Models over the API: a folder up, file by file; a version down, verified before it lies where it was asked for."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from vallum.kernel.errors import IntegrityError, Invalid

if TYPE_CHECKING:
    from vallum.models.signing import TrustPolicy

__all__ = ["MODEL_ROUTES", "DownloadDiffers", "Performer", "download_model", "upload_model"]

_PIECE_BYTES = 1 << 20
PART_BYTES = 64 << 20  # what a connection that breaks costs at most
_VERSION = "/registered-models/{name}/versions/{number}"
_UPLOAD = "/registered-models/{name}/uploads/{upload}"

MODEL_ROUTES: Mapping[str, tuple[str, str]] = {
    "begin_model_upload": ("POST", "/registered-models/{name}/uploads"),
    "read_model_upload": ("GET", _UPLOAD),
    "upload_model_part": ("PUT", _UPLOAD + "/parts/{begin}/{path}"),
    "join_model_parts": ("POST", _UPLOAD + "/files/{path}"),
    "remove_model_file": ("DELETE", _UPLOAD + "/files/{path}"),
    "upload_model_file": ("PUT", _UPLOAD + "/files/{path}"),
    "bring_model_signature": ("PUT", _UPLOAD + "/signature"),
    "complete_model_upload": ("POST", _UPLOAD + "/completion"),
    "read_model_version": ("GET", _VERSION),
    "download_model_file": ("GET", _VERSION + "/files/{path}"),
    "read_model_signature": ("GET", _VERSION + "/signature"),
    "list_model_signing_keys": ("GET", "/model-signing-keys"),
}
"""The routes that this needs, by name: method, and path below `/api/v1`."""

Progress = Callable[[int], None]


class DownloadDiffers(IntegrityError):
    """What came is not what the version says, or was cut short: nothing of it was kept."""

    code = "download_differs"


class Performer(Protocol):
    def perform(self, name: str, *, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None) -> Any:
        """A route's answer as plain values; a file's body is given, and a download comes, as an iterator of bytes."""
        ...


def upload_model(
    api: Performer,
    model: str,
    path: Path,
    *,
    source: str = "",
    signature: Path | None = None,
    resume: str | None = None,
    begun: Callable[[dict[str, Any]], None] = lambda upload: None,
    progress: Progress = lambda size: None,
) -> dict[str, Any]:
    """A file or folder as a new version of `model`, scanned and signed; the version, which may be in quarantine.

    `signature` (OMS 1.0) is brought in place of the platform's. `resume` goes on with an upload: what arrived and is
    the same here is not sent again, and a large file goes on after the last part of it that did. `begun` hears of the
    upload first, `progress` of bytes as they are done. Raises Invalid for links and for what is no file.
    """
    files = _files_of(path, signature)
    if resume is None:
        upload = api.perform("begin_model_upload", path={"name": model}, body={"source": source})
    else:
        upload = api.perform("read_model_upload", path={"name": model, "upload": resume})
    begun(upload)
    at = {"name": model, "upload": upload["id"]}
    arrived = {one["path"]: one for one in upload["files"]}
    partial = {one["path"]: one["parts"] for one in upload.get("partial", ())}
    for name in (arrived.keys() | partial.keys()) - files.keys():
        raise Invalid(f"the upload holds {name}, which is not in {path}: abandon it, and begin another")
    for name, file in files.items():
        there = arrived.get(name)
        if there is not None and there["size"] == file.stat().st_size and there["sha256"] == _digest(file):
            progress(there["size"])
            continue
        if file.stat().st_size > PART_BYTES:
            if there is not None:
                api.perform("remove_model_file", path={**at, "path": name})
            _send_parts(api, {**at, "path": name}, file, partial.get(name, ()), progress)
            continue
        digest = hashlib.sha256()
        kept = api.perform("upload_model_file", path={**at, "path": name}, body=_pieces(file, digest.update, progress))
        if kept["sha256"] != digest.hexdigest():
            raise DownloadDiffers(f"{name} did not arrive as it was sent: send it again")
    if signature is not None:
        api.perform("bring_model_signature", path=at, body=_pieces(signature))
    version: dict[str, Any] = api.perform("complete_model_upload", path=at)
    return version


def _send_parts(
    api: Performer, at: Mapping[str, str], file: Path, arrived: Sequence[Mapping[str, Any]], progress: Progress
) -> None:
    """What is missing of a large file, part by part; from its first byte where what arrived is not what lies here."""
    digest, begin = hashlib.sha256(), 0
    with file.open("rb") as opened:
        for part in arrived:
            for piece in _take(opened, part["size"]):
                digest.update(piece)
            begin += part["size"]
            if digest.hexdigest() != part["sha256"]:
                api.perform("remove_model_file", path=at)
                digest, begin = hashlib.sha256(), 0
                opened.seek(0)
                break
        progress(begin)
        while begin < file.stat().st_size:
            sent = _told(_take(opened, PART_BYTES), digest.update, progress)
            kept = api.perform("upload_model_part", path={**at, "begin": str(begin)}, body=sent)
            if kept["sha256"] != digest.hexdigest() or not kept["size"]:
                raise DownloadDiffers(
                    f"{at['path']} did not arrive as it was sent, or changed meanwhile: send it again"
                )
            begin += kept["size"]
    api.perform("join_model_parts", path=at, body={"sha256": digest.hexdigest(), "size": begin})


def _take(opened: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := opened.read(min(size, _PIECE_BYTES))):
        size -= len(piece)
        yield piece


def _told(pieces: Iterator[bytes], told: Callable[[bytes], object], progress: Progress) -> Iterator[bytes]:
    for piece in pieces:
        told(piece)
        yield piece
        progress(len(piece))


def download_model(
    api: Performer,
    model: str,
    number: int,
    folder: Path,
    *,
    trust: "TrustPolicy | None" = None,
    progress: Progress = lambda size: None,
) -> dict[str, Any]:
    """A version into `folder`, which must not be there: only when every file is as `trust` signed it.

    Without `trust` the platform's own keys count, as this server names them. Raises DownloadDiffers, SignatureRefused,
    ModelDiffers.
    """
    from vallum.models.registry.model import check_file_path
    from vallum.models.signing import TrustedKey, TrustPolicy, verify_model

    if folder.exists():
        raise Invalid(f"{folder} is there already: name a folder that is not")
    at = {"name": model, "number": str(number)}
    version: dict[str, Any] = api.perform("read_model_version", path=at)
    if trust is None:
        keys = [key for key in api.perform("list_model_signing_keys") if _counts(key, version)]
        trust = TrustPolicy(tuple(TrustedKey(key["signer"], key["public_key"].encode()) for key in keys))
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(mkdtemp(prefix=".vallum-", dir=folder.parent))
    try:
        signature, files = work / "model.sig", work / "files"
        signature.write_bytes(b"".join(api.perform("read_model_signature", path=at)))
        files.mkdir()
        for one in version["files"]:
            _fetch(api, at, one, files / check_file_path(one["path"]), progress)
        verify_model(files, signature, trust)
        files.rename(folder)
        return version
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _counts(key: Mapping[str, Any], version: Mapping[str, Any]) -> bool:
    """A revoked key counts for what the server still gives out: what its ledger recorded before."""
    spared = bool(key.get("revoked_since")) and key["signer"] == version["signer"]
    return key.get("state") != "revoked" or spared


def _fetch(api: Performer, at: Mapping[str, str], one: Mapping[str, Any], path: Path, progress: Progress) -> None:
    digest, size = hashlib.sha256(), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        for chunk in api.perform("download_model_file", path={**at, "path": one["path"]}):
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
            progress(len(chunk))
    if (digest.hexdigest(), size) != (one["sha256"], one["size"]):
        raise DownloadDiffers(f"{one['path']} came otherwise than the version says; nothing was kept")


def _files_of(path: Path, signature: Path | None) -> dict[str, Path]:
    """What is sent, by its path in the model. Raises Invalid for what no version can hold."""
    if path.is_symlink() or not path.exists():
        raise Invalid(f"{path}: there is no such file or folder, or it is a link")
    if path.is_file():
        return {path.name: path}
    without = signature.resolve() if signature is not None else None
    found: dict[str, Path] = {}
    for root, folders, names in os.walk(path):
        for name in sorted([*folders, *names]):
            file = Path(root) / name
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                raise Invalid(f"{file}: a model holds files alone, no links and no devices")
            if file.is_file() and file.resolve() != without:
                found[file.relative_to(path).as_posix()] = file
    return dict(sorted(found.items()))


def _pieces(
    file: Path, told: Callable[[bytes], object] = lambda piece: None, progress: Progress = lambda size: None
) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from _told(iter(lambda: opened.read(_PIECE_BYTES), b""), told, progress)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
