"""`vallum guard`: the detectors on files and streams, without a server, and how well they do."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, printable, say
from vallum.cli.output import report as report_
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

__all__ = ["app"]

app = group("Detect prompt injection, personal data, secrets and unsafe output in texts.")

MAX_LINE_BYTES = 64 << 20
_PURE = "reads texts, not Vallum's data"
_GUARDS = (
    "injection, pii, secrets, unicode, output (all that reads answers), links, markup, code, repetition or refusal."
)
GuardName = Annotated[str, typer.Option("--guard", "-g", help=_GUARDS)]
Files = Annotated[list[Path] | None, typer.Argument(help="Files to read; standard input without any.")]


@command(app, "scan", local=_PURE, example="vallum guard scan --guard pii letter.txt")
def scan(
    files: Files = None,
    guard: GuardName = "injection",
    channel: Annotated[str, typer.Option("--channel", help="user, retrieved, tool, system or model.")] = "user",
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help='One {"text": …, "channel": …} a line, one verdict a line.')
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge texts. With --jsonl, verdicts come in the order of the lines; a line that cannot be read says why.

    Exits 0 when all were judged, whatever was found, and 2 when a line could not be read.
    """
    from vallum.guards.scan import scanner
    from vallum.guards.segment import Channel

    _one_of("--channel", channel, tuple(Channel))
    judge = scanner(guard)
    if jsonl:
        wrong = 0
        for answer in _judge_lines(_lines(files), judge, channel):
            wrong += "error" in answer
            print(json.dumps(answer), flush=True)
        if wrong:
            raise Invalid(f"{wrong} lines could not be judged; each says why in its place")
        return
    for name, text in _texts(files):
        try:
            verdict = judge(text, Channel(channel)).to_json()
        except Exception as e:
            raise Invalid(f"{name}: the guard failed on it ({type(e).__name__}): treat it as found") from e
        if as_json:
            print(json.dumps({"file": name, **verdict}))
            continue
        print_record({"file": name, **{key: verdict[key] for key in ("verdict", "score", "threshold")}})
        for found in verdict["findings"]:
            start, end = found["span"]
            print(printable(f"  {found['kind']} at {start}-{end}: {found['explanation']}"))


@command(app, "eval", local=_PURE, example="vallum guard eval labelled.jsonl --guard injection")
def evaluate(
    files: Files = None,
    guard: GuardName = "injection",
    against: Annotated[
        Path | None, typer.Option("--against", help="Verdicts of another version for the same lines, to compare with.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write the distributions and the ROC as an SVG file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a guard on labelled texts: one {"text", "label", "channel"} a line, label 1 for an attack.

    `--against` is what `vallum guard scan --jsonl` of another version wrote for the same lines.
    """
    from vallum.guards.evaluation import evaluate as measure
    from vallum.guards.scan import scanner

    judge = scanner(guard)
    rows = [_labelled(number, line) for number, line in enumerate(_lines(files), start=1)]
    verdicts = [judge(text, channel) for text, _, channel in rows]
    labels = [label for _, label, _ in rows]
    scores = [verdict.score for verdict in verdicts]
    thresholds = {verdict.threshold for verdict in verdicts}
    threshold = thresholds.pop() if len(thresholds) == 1 else None
    if len(set(labels)) == 1:  # as the first week's reviews may be: no curve, and a share all the same
        flagged = _share(verdict.is_flagged for verdict in verdicts)
        result: dict[str, Any] = {"guard": guard, "texts": len(labels), "label": labels[0], "flagged": flagged}
        print(json.dumps(result)) if as_json else print_record(result)
        return
    result = {"guard": guard, **measure(scores, labels, threshold).to_json()}
    if threshold is None:  # each channel has its own
        result["false_alarms"] = _share(
            verdict.is_flagged for verdict, label in zip(verdicts, labels, strict=True) if not label
        )
        result["recall"] = _share(verdict.is_flagged for verdict, label in zip(verdicts, labels, strict=True) if label)
    if against is not None:
        result["against"] = measure(_scores(against, len(labels)), labels).to_json()
    if plot is not None:
        from vallum.guards.plot import render_plot

        try:
            plot.write_text(render_plot(scores, labels))
        except OSError as e:
            raise Invalid(f"{plot} cannot be written: {e.strerror}") from e
    if as_json:
        print(json.dumps(result))
        return
    print_record({k: v for k, v in result.items() if k not in ("histogram", "against")})
    if against is not None:
        print_record({f"against {k}": v for k, v in result["against"].items() if k in ("auc", "recall_at")})


@command(
    app, "digest", local="reads a model's files, not Vallum's data", example="vallum guard digest models/prompt-guard"
)
def digest(
    folder: Annotated[Path, typer.Argument(help="model.onnx, tokenizer.json and config.json of a classifier.")],
    as_json: AsJson = False,
) -> None:
    """What a classifier or `injection_judge` declares: the digest, since only the model that was meant is loaded, and
    which of its labels make a finding.
    """
    from vallum.guards.classifier import digest_of, labels_in

    found = {"folder": str(folder), "digest": digest_of(folder), "labels": labels_in(folder)}
    print_json(found) if as_json else print_record({**found, "labels": ", ".join(found["labels"])})


@command(
    app, "report", performs=("list_entries",),
    example="vallum guard report --application support --guard injection --days 7 --data vallum-data",
)  # fmt: skip
def report(
    application: Annotated[str, typer.Option("--application", "-a", help="The application's name.")],
    guard: Annotated[str, typer.Option("--guard", "-g", help="The guard that is to block.")],
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How far back to look.")] = 7,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """What a guard in mode `detect` would have blocked, from the ledger: read it before the mode becomes `block`."""
    since = datetime.now(UTC) - timedelta(days=days)
    with opened(data, url, config) as transport:
        result = _would_block(_entries_since(transport, f"application:{application}", since), guard)
    result = {"application": application, "guard": guard, "days": days, **result}
    if as_json:
        print(json.dumps(result))
        return
    print_record({name: value for name, value in result.items() if name not in ("kinds", "entries")})
    if result["kinds"]:
        print_table(("KIND", "REQUESTS"), [(kind, str(count)) for kind, count in result["kinds"].items()])
        print(f"look at some: {'  '.join(result['entries'][:_SHOWN])}")


Text = Annotated[
    Path | None, typer.Option("--text", help="A file with the text that was judged; - for standard input.")
]


@command(
    app, "review", performs=("review_finding",),
    example="vallum guard review ent_01J… --guard injection --verdict wrong --data vallum-data",
)  # fmt: skip
def review(
    entry: Annotated[str, typer.Argument(help="The entry's id, as the answer's x-vallum-entry header gives it.")],
    verdict: Annotated[str, typer.Option("--verdict", help="right, wrong (it was harmless) or missed.")],
    guard: GuardName = "injection",
    text: Text = None,
    channel: Annotated[str, typer.Option("--channel", help="Of --text: user, retrieved, tool or model.")] = "user",
    keep_days: Annotated[int, typer.Option("--keep-days", min=1, max=3650, help="How long to keep the case.")] = 365,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say whether a guard judged a request rightly. The text is kept, sealed, as a case to measure guards on.

    Without --text it is taken from the content that the application keeps (`keep_content_days`).
    """
    from vallum.guards.segment import Channel

    _one_of("--verdict", verdict, _VERDICTS)
    _one_of("--channel", channel, tuple(Channel))
    body: dict[str, Any] = {"guard": guard, "verdict": verdict, "channel": channel, "keep_days": keep_days}
    if text is not None:
        body["text"] = _one_text(text)
    with opened(data, url, config) as transport:
        done = transport.perform("review_finding", path={"id": entry}, body=body)
    report_(as_json, done, printable(f"{done['review']}: the guard {guard} was {verdict} on {entry}"))


@command(
    app, "cases", performs=("export_cases",),
    example="vallum guard cases --guard injection > cases.jsonl && vallum guard eval cases.jsonl",
)  # fmt: skip
def cases(
    guard: GuardName = "injection",
    url: Url = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write the reviewed cases of a guard as JSON lines for `vallum guard eval`. Of several reviews of one text the
    newest counts.

    They are contents: somebody with the role security reads them, signed in (vallum login) with a fresh second factor.
    """
    known: dict[tuple[str, str], dict[str, Any]] = {}
    page: dict[str, Any] = {"next": None}
    with opened(None, url) as transport:
        while True:
            query = {} if page["next"] is None else {"before": page["next"]}
            page = transport.perform("export_cases", path={"guard": guard}, body=query)
            for case in page["cases"]:
                if known.setdefault((case["channel"], case["text"]), case) is case and not as_json:
                    print(json.dumps(case))
            if page["next"] is None:
                break
    if as_json:
        print_json(list(known.values()))
    say(f"{len(known)} cases of the guard {guard}")


_SHOWN = 5
_VERDICTS = ("right", "wrong", "missed")
_PAGE = 1000


def _entries_since(transport: Any, subject: str, since: datetime) -> Iterator[dict[str, Any]]:
    """Newest first, a page at a time, as far back as wanted."""
    before: dict[str, Any] = {}
    while True:
        page = transport.perform(
            "list_entries", query={"kind": "inference", "subject": subject, "limit": _PAGE, **before}
        )
        for entry in page["entries"]:
            if datetime.fromisoformat(entry["time"]) < since:
                return
            yield entry
        if page["next"] is None:
            return
        before = {"before": page["next"]}


def _would_block(entries: Iterable[dict[str, Any]], guard: str) -> dict[str, Any]:
    requests = blocked = 0
    kinds: dict[str, int] = {}
    found = []
    for entry in entries:
        requests += 1
        blocked += entry["outcome"] == "blocked"
        hits = {f["kind"] for f in entry["findings"] if f["guard"] == guard and f["action"] not in ("block", "off")}
        if hits and entry["outcome"] != "blocked":
            found.append(entry["entry_id"])
            for kind in hits:
                kinds[kind] = kinds.get(kind, 0) + 1
    share = round(len(found) / requests, 4) if requests else 0.0
    return {
        "requests": requests, "blocked_already": blocked, "would_be_blocked": len(found), "share": share,
        "kinds": dict(sorted(kinds.items())), "entries": found[:_PAGE],
    }  # fmt: skip


def _share(hits: Iterable[bool]) -> float:
    each = list(hits)
    return round(sum(each) / max(1, len(each)), 4)


def _judge_lines(lines: Iterable[bytes], judge: Any, channel: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            row = _row(number, line)
            yield judge(row["text"], _channel(number, row.get("channel", channel))).to_json()
        except Invalid as e:
            yield {"error": str(e), "line": number}
        except Exception as e:  # noqa: BLE001  a guard that fails on one text says so there; the others are judged
            yield {"error": f"line {number}: the guard failed ({type(e).__name__}): treat it as found", "line": number}


def _row(number: int, line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise Invalid(f"line {number}: longer than {MAX_LINE_BYTES} bytes")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise Invalid(f"line {number}: not JSON ({type(e).__name__})") from e
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise Invalid(f'line {number}: expected an object with a string "text"')
    return row


def _channel(number: int, name: object) -> Any:
    from vallum.guards.segment import Channel

    try:
        return Channel(str(name))
    except ValueError:
        raise Invalid(
            f"line {number}: there is no channel {str(name)[:40]!r}; there are {', '.join(Channel)}"
        ) from None


def _labelled(number: int, line: bytes) -> tuple[str, int, Any]:
    row = _row(number, line)
    if row.get("label") not in (0, 1):
        raise Invalid(f'line {number}: expected "label" 0 or 1')
    return row["text"], int(row["label"]), _channel(number, row.get("channel", "user"))


def _scores(file: Path, wanted: int) -> list[float]:
    try:
        scores = [float(json.loads(line)["score"]) for line in _lines([file])]
    except (ValueError, TypeError, KeyError, RecursionError) as e:
        raise Invalid(f"{file} must hold a verdict with a score on each line ({type(e).__name__})") from e
    if len(scores) != wanted or not all(0 <= score <= 1 for score in scores):
        raise Invalid(f"{file} must hold a score from 0 to 1 for each of the {wanted} lines")
    return scores


def _lines(files: list[Path] | None) -> Iterator[bytes]:
    for file in _opened(files):
        with file:
            yield from (line for line in file if line.strip())


def _texts(files: list[Path] | None) -> Iterator[tuple[str, str]]:
    for file in _opened(files):
        with file:
            yield getattr(file, "name", "-"), file.read().decode("utf-8", "replace")


def _one_of(option: str, given: str, known: Sequence[str]) -> None:
    if given not in known:
        raise Invalid(f"{option}: write one of {', '.join(known)}, not {given}")


def _one_text(file: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return raw.decode()
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise Invalid(f"{file} is not UTF-8 text") from e


def _opened(files: list[Path] | None) -> Iterator[Any]:
    if not files:
        yield sys.stdin.buffer
        return
    for file in files:
        try:
            yield file.open("rb")
        except OSError as e:
            raise Invalid(f"{file} cannot be read: {e.strerror}") from e
