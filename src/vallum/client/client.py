"""The client. Answers are plain dictionaries and lists, as the OpenAPI description gives their shapes."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import ceil
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pyreqwest.client import SyncClient, SyncClientBuilder
from pyreqwest.exceptions import ConnectError, PyreqwestError

from vallum.client.data import DATA_ROUTES, RowStream, rows_of, take_in
from vallum.client.models import MODEL_ROUTES, download_model, upload_model
from vallum.client.mount import mounted
from vallum.kernel.errors import (
    Conflict,
    Denied,
    IntegrityError,
    Invalid,
    LimitExceeded,
    NotFound,
    Unauthenticated,
    Unavailable,
    VallumError,
)

if TYPE_CHECKING:
    from vallum.models.signing import TrustPolicy

__all__ = ["Client", "RequestRefused"]

_PREFIX = "/api/v1"
_LONG = timedelta(hours=12)  # a large model on its way, or being scanned


class RequestRefused(Invalid):
    """The server refused in a way this client knows no better name for."""

    code = "request_refused"


class Client:
    """One server's control plane.

    >>> with Client("https://127.0.0.1:8443", ca_file="vallum-data/tls/ca.pem", credential=session) as vallum:
    ...     vallum.issue_key("handbook-assistant", label="laptop")["secret"]

    `credential` is a session (`sign_in`) or an access token (`grant_token`); `certificate` the PEM files of a
    certificate and its key, for mutual TLS. Every method raises the families of `vallum.kernel.errors`, with the
    server's own words and its code.
    """

    def __init__(
        self,
        url: str,
        *,
        credential: str = "",
        ca_file: str | Path | None = None,
        certificate: tuple[str | Path, str | Path] | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        self._url = url.rstrip("/")
        self.credential = credential
        builder = SyncClientBuilder().user_agent("vallum-client").timeout(timedelta(seconds=timeout_seconds))
        builder = builder.follow_redirects(False).no_proxy()
        if ca_file is not None:
            try:
                builder = builder.add_root_certificate_pem(Path(ca_file).read_bytes())
            except OSError as e:
                raise Invalid(f"the CA file {ca_file} cannot be read: {e.strerror}") from e
        if certificate is not None:
            builder = builder.identity_pem(_identity(*certificate))
        self._client: SyncClient = builder.build()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    # Signing in.

    def sign_in(self, name: str, password: str, code: str) -> dict[str, Any]:
        """A session, which this client uses from then on; `secret` is what to keep."""
        issued: dict[str, Any] = self.request("POST", "/sessions", {"name": name, "password": password, "code": code})
        self.credential = issued["secret"]
        return issued

    def grant_token(self, client_id: str, client_secret: str = "") -> dict[str, Any]:
        """An access token for a service (OAuth 2.0 client credentials), used from then on.

        Without a secret, by this client's certificate, at the server's port for mutual TLS.
        """
        body = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        token: dict[str, Any] = self.request("POST", "/tokens", body)
        self.credential = token["access_token"]
        return token

    def sign_in_handed_over(self, code: str, verifier: str) -> dict[str, Any]:
        """A session by the code that a browser's was handed over with, used from then on."""
        issued: dict[str, Any] = self.request("POST", "/sessions/hand-over", {"code": code, "verifier": verifier})
        self.credential = issued["secret"]
        return issued

    def step_up(self, code: str) -> dict[str, Any]:
        """Prove the second factor afresh, for what asks for it. The session's secret changes; this client follows."""
        issued: dict[str, Any] = self.request("POST", "/sessions/current/step-up", {"code": code})
        self.credential = issued["secret"]
        return issued

    def sign_out(self) -> None:
        self.request("DELETE", "/sessions/current")
        self.credential = ""

    # Applications and their keys.

    def applications(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.request("GET", "/applications")
        return found

    def keys(self, application_id: str | None = None) -> list[dict[str, Any]]:
        query = {} if application_id is None else {"application_id": application_id}
        found: list[dict[str, Any]] = self.request("GET", "/keys", query=query)
        return found

    def issue_key(
        self,
        application_id: str,
        *,
        label: str,
        expires_in_days: int | None = None,
        models: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The key and its `secret`, which is shown this once; with `models`, for these of the application's alone."""
        body = {
            "application_id": application_id,
            "label": label,
            "expires_in_days": expires_in_days,
            "models": None if models is None else list(models),
        }
        issued: dict[str, Any] = self.request("POST", "/keys", body)
        return issued

    def revoke_key(self, key_id: str) -> None:
        self.request("DELETE", f"/keys/{quote(key_id, safe='')}")

    def plan(self, files: Mapping[str, str], *, prune: bool = False) -> dict[str, Any]:
        """What applying these TOML texts, by file name, would change."""
        plan: dict[str, Any] = self.request("POST", "/configuration/plans", {"files": dict(files), "prune": prune})
        return plan

    def apply(self, files: Mapping[str, str], *, digest: str | None = None, prune: bool = False) -> dict[str, Any]:
        """Make it so; with `digest`, only if it is still the plan that was seen."""
        body = {"files": dict(files), "prune": prune, "digest": digest}
        plan: dict[str, Any] = self.request("POST", "/configuration", body)
        return plan

    # The ledger.

    def entries(self, *, limit: int | None = None, **filters: str | int) -> Iterator[dict[str, Any]]:
        """Newest first; `filters` are `kind`, `subject`, `asset`, `effect` and `before`. Follows the pages."""
        query: dict[str, str | int] = {**filters, "limit": 100 if limit is None else min(limit, 1000)}
        given = 0
        while True:
            page = self.request("GET", "/entries", query=query)
            for entry in page["entries"]:
                if limit is not None and given >= limit:
                    return
                given += 1
                yield entry
            if page["next"] is None:
                return
            query["before"] = page["next"]

    def entry(self, entry_id: str) -> dict[str, Any]:
        entry: dict[str, Any] = self.request("GET", f"/entries/{quote(entry_id, safe='')}")
        return entry

    def prove(self, entry_id: str) -> dict[str, Any]:
        """The inclusion proof, the canonical entry and the signed checkpoint."""
        proof: dict[str, Any] = self.request("GET", f"/entries/{quote(entry_id, safe='')}/proof")
        return proof

    def export_ledger(self) -> Iterator[bytes]:
        """The whole log in pieces, to write to a file that `vallum ledger verify --export` reads."""
        return self.download("/ledger/export")

    # Models.

    def register_model(
        self,
        name: str,
        *,
        owner: str = "",
        classification: str = "internal",
        risk_class: str = "limited",
        description: str = "",
    ) -> dict[str, Any]:
        """A name that versions are uploaded under."""
        body = {"name": name, "owner": owner, "classification": classification, "risk_class": risk_class,
                "description": description}  # fmt: skip
        made: dict[str, Any] = self.request("POST", "/registered-models", body)
        return made

    def upload_model(
        self,
        model: str,
        path: str | Path,
        *,
        source: str = "",
        signature: str | Path | None = None,
        resume: str | None = None,
        begun: Callable[[dict[str, Any]], None] = lambda upload: None,
        progress: Callable[[int], None] = lambda size: None,
    ) -> dict[str, Any]:
        """A file or folder as a new version, which may be in quarantine: see its `state`, `verdict` and `findings`.

        `begun` hears of the upload before anything is sent: `resume` with its `id` goes on after an interruption, also
        inside a large file. `progress` hears of bytes as they are sent.
        """
        brought = None if signature is None else Path(signature)
        return upload_model(
            _Routes(self),
            model,
            Path(path),
            source=source,
            signature=brought,
            resume=resume,
            begun=begun,
            progress=progress,
        )

    def download_model(
        self,
        model: str,
        number: int,
        folder: str | Path,
        *,
        trust: "TrustPolicy | None" = None,
        progress: Callable[[int], None] = lambda size: None,
    ) -> dict[str, Any]:
        """A version into `folder`, which must not be there, once every file is as it was signed by who is trusted.

        That is the platform itself, unless `trust` names others.
        """
        return download_model(_Routes(self), model, number, Path(folder), trust=trust, progress=progress)

    def model_version(self, model: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", f"/registered-models/{quote(model, safe='')}/versions/{number}")
        return found

    # Data sets.

    def take_in(
        self,
        dataset: str,
        source: str | Path,
        contract: bytes,
        *,
        purpose: str = "",
        parents: Mapping[str, str] = MappingProxyType({}),
        evaluation: str = "",
        progress: Callable[[int], None] = lambda size: None,
    ) -> dict[str, Any]:
        """A source as a version, which may have failed its gates: see its `state`, and its quarantine.

        `parents` and `evaluation` are governed versions that it is held against: see `vallum.client.data.take_in`.
        """
        return take_in(
            _Routes(self), dataset, Path(source), contract, purpose=purpose, parents=parents, evaluation=evaluation,
            progress=progress,
        )  # fmt: skip

    def rows(
        self, dataset: str, number: int, *, purpose: str = "", columns: Sequence[str] = (), export: bool = False
    ) -> RowStream:
        """A version's rows: `.polars()`, `.pandas()`, or `.arrow()` as they come. What one may not have is masked."""
        return rows_of(_Routes(self), dataset, number, purpose=purpose, columns=columns, export=export)

    def request_erasure(self, identifiers: Sequence[str], reference: str) -> dict[str, Any]:
        """Ask for a person's erasure from everything; the answer says what would go. Somebody else approves it."""
        body = {"identifiers": list(identifiers), "reference": reference}
        asked: dict[str, Any] = self.request("POST", "/erasures", body)
        return asked

    def erasure(self, erasure_id: str) -> dict[str, Any]:
        """How far it is: its `state`, its `steps`, what is `held`. Raises NotFound."""
        found: dict[str, Any] = self.request("GET", f"/erasures/{quote(erasure_id, safe='')}")
        return found

    @contextmanager
    def mount(
        self,
        dataset: str,
        number: int,
        *,
        purpose: str,
        columns: Sequence[str] = (),
        within: Path | None = None,
        run: str = "",
        hours: float = 24,
    ) -> Iterator[Path]:
        """A version's rows as a folder of Parquet files for a training job: private, in memory where there is such a
        place, and shredded at the end. Columns are masked as in `rows`. The ledger has the `run`, and that the rows lie
        there for so many `hours` at most."""
        seconds = hours * 3600
        lease = {"run": run, "lease_seconds": str(ceil(seconds))}
        stream = rows_of(_Routes(self), dataset, number, purpose=purpose, columns=columns, mounted=lease)
        told = {"version": f"{dataset}/{number}", "purpose": purpose, "run": run}
        with mounted(stream.frames(), told, within=within, seconds=seconds) as folder:
            yield folder

    def statistic(self, dataset: str, number: int, query: Mapping[str, Any], *, epsilon: float) -> dict[str, Any]:
        """A differentially private `answer`, charged to the data set's budget; `query` as in `{"type": "mean",
        "column": "age", "low": 0, "high": 120}`. Raises BudgetSpent's code as Denied; asking again is charged again."""
        path = {"name": dataset, "number": str(number)}
        body = {"query": dict(query), "epsilon": epsilon}
        found: dict[str, Any] = _Routes(self).perform("release_statistic", path=path, body=body)
        return found

    # Any route.

    def download(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        """A file below `/api/v1`, in pieces. Raises Unavailable when it ends before its end."""
        try:
            asked = f"?{urlencode(query)}" if query else ""
            request = self._client.get(f"{self._url}{_PREFIX}{path}{asked}").headers(self._headers()).timeout(_LONG)
            with request.build_streamed() as response:
                if response.status != 200:
                    raise _refused(response.status, bytes(response.bytes()))
                while (chunk := response.body_reader.read_chunk()) is not None:
                    yield bytes(chunk)
        except PyreqwestError as e:
            raise self._unreachable(e) from e

    def send_file(self, method: str, path: str, chunks: Iterable[bytes]) -> Any:
        """A file as it is, to a route that takes one; the decoded answer, or None for one without."""
        request = self._client.request(method, f"{self._url}{_PREFIX}{path}").headers(self._headers()).timeout(_LONG)
        request = request.header("content-type", "application/octet-stream").body_stream(chunks)
        try:
            with request.build_streamed() as response:
                raw, status = bytes(response.bytes()), response.status
        except PyreqwestError as e:
            raise self._unreachable(e) from e
        if status >= 300:
            raise _refused(status, raw)
        return json.loads(raw) if raw else None

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str | int] | None = None,
        takes_long: bool = False,
    ) -> Any:
        """One request below `/api/v1`; the decoded answer, or None for one without."""
        url = f"{self._url}{_PREFIX}{path}" + (f"?{urlencode(query)}" if query else "")
        request = self._client.request(method, url).headers(self._headers())
        if takes_long:
            request = request.timeout(_LONG)
        if body is not None:
            request = request.header("content-type", "application/json").body_bytes(json.dumps(body).encode())
        try:
            with request.build_streamed() as response:
                raw = bytes(response.bytes())
                status = response.status
        except PyreqwestError as e:
            raise self._unreachable(e) from e
        if status >= 300:
            raise _refused(status, raw)
        return json.loads(raw) if raw else None

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.credential}"} if self.credential else {}

    def _unreachable(self, error: PyreqwestError) -> Unavailable:
        hint = "; is it running, and is --ca-file its CA?" if isinstance(error, ConnectError) else ""
        return Unavailable(f"{self._url} did not answer{hint}")


class _Routes:
    """What `client.models` asks for by a route's name."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def perform(self, name: str, *, path: Mapping[str, str] | None = None, query: Any = None, body: Any = None) -> Any:
        method, target = MODEL_ROUTES.get(name) or DATA_ROUTES[name]
        for parameter, value in (path or {}).items():
            target = target.replace("{" + parameter + "}", quote(value, safe="/" if parameter == "path" else ""))
        if method == "PUT":
            return self._client.send_file(method, target, body)
        if name in ("download_model_file", "read_model_signature", "read_data_rows", "export_data_rows"):
            return self._client.download(target, query)
        return self._client.request(method, target, body, takes_long=name.startswith("complete_"))


def _identity(certificate: str | Path, key: str | Path) -> bytes:
    try:
        return Path(certificate).read_bytes() + b"\n" + Path(key).read_bytes()
    except OSError as e:
        raise Invalid(f"{e.filename} cannot be read: {e.strerror}") from e


# The same families that the server's statuses come from.
_FAMILIES: Mapping[int, type[VallumError]] = {
    401: Unauthenticated,
    403: Denied,
    404: NotFound,
    409: Conflict,
    500: IntegrityError,
    503: Unavailable,
}


def _refused(status: int, raw: bytes) -> VallumError:
    try:
        problem = json.loads(raw)
        detail, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError):
        problem, detail, code = {}, f"the server answered with status {status}", "unknown"
    entry = f" (entry {problem['entry']})" if problem.get("entry") else ""
    obligations: Sequence[str] = problem.get("obligations", ())
    hint = "; prove your second factor first: vallum step-up" if "step_up" in obligations else ""
    message = f"{detail}{hint}{entry}"
    if status == 429:
        return LimitExceeded(message, float(problem.get("retry_after_seconds", 1)))
    if status == 500 and code == "internal":
        return Unavailable(message)
    error = _FAMILIES.get(status, RequestRefused if status not in (400, 413, 415) else Invalid)(message)
    vars(error)["code"] = code  # the server's own, finer than the family's
    return error
