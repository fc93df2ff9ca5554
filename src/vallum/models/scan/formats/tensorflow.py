"""TensorFlow's SavedModel and frozen graphs: which operators their nodes are, by a bounded reader of protocol buffers.

A graph is a program: an operator that reads or writes files or calls Python does so when the model is run, and some when
it is loaded. Those of saving and restoring belong there, unless they name a place outside.
"""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import re
from collections.abc import Iterator

from vallum.models.scan.languages.text import looks_like_text, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["TensorflowGraph"]

_MAX_NODES = 500_000
_HARMFUL = frozenset(
    """ReadFile WriteFile MatchingFiles PyFunc PyFuncStateless EagerPyFunc LoadLibrary ShellExecute WholeFileReader
    WholeFileReaderV2 TextLineReader TextLineReaderV2 TFRecordReader FixedLengthRecordReader FixedLengthRecordReaderV2
    TextLineDataset TFRecordDataset FixedLengthRecordDataset FixedLengthRecordDatasetV2 CSVDataset CSVDatasetV2 SqlDataset LMDBReader LMDBDataset
    PrintV2File SaveDataset SaveDatasetV2 LoadDataset DatasetToTFRecord DebugIdentity DebugIdentityV2 DebugIdentityV3
    DebugNanCount DebugNumericSummary RemoteCall RpcCall RpcClient RpcServer GetRpcServer DataServiceDataset DataServiceDatasetV2
    RegisterDataset SnapshotDataset SnapshotDatasetV2 CacheDataset GenerateBigQueryReaderPartitions BigQueryReader
    IdentityReader ImportEvent WriteSummary CreateSummaryFileWriter CreateSummaryDbWriter WriteGraphSummary
    WriteRawProtoSummary CollectivePermute XlaLaunch NcclAllReduce CopyFile DeleteFile RenameFile FileSystemSetConfiguration
    GcsConfigureCredentials GcsConfigureBlockCache OutfeedEnqueue InfeedEnqueue""".split()
)  # fmt: skip
_REVIEWED = frozenset(
    "Send Recv _Send _Recv _HostSend _HostRecv Print PrintV2 DecodeProtoV2 EncodeProto CustomCall XlaCustomCall InitializeTableFromTextFile InitializeTableFromTextFileV2 Abort".split()
)
_SAVES = re.compile(r"(?:Save|Restore|MergeV2Checkpoints|ShardedFilename)")
_OPERATOR = re.compile(rb"_?[A-Z][A-Za-z0-9_>]{0,120}\Z")
_OUTSIDE = re.compile(
    rb"(?:^|[\x00-\x1f\"])(?:/(?:etc|root|home|proc|usr|var|dev|sys|tmp)/|~/|\.\./|[A-Z]:\\\\|(?:https?|ftp|gs|s3|hdfs)://)[\w./~-]{2,}|\.ssh/|\.\./\.\./"
)
_TEXT_NODE = re.compile(r"\bop\s*:\s*\"([^\"]{1,120})\"")


class TensorflowGraph:
    name = "tensorflow"

    def recognises(self, blob: Blob) -> bool:
        if looks_like_text(blob):
            return b"node {" in blob.head() or b"node_def {" in blob.head() or blob.name.endswith(".pbtxt")
        return _is_saved_model(blob) or _is_graph(blob)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        operators: dict[str, int] = {}
        places: list[bytes] = []
        try:
            if looks_like_text(blob):
                for operator in _TEXT_NODE.findall(text_of(blob) or ""):
                    operators[operator] = operators.get(operator, 0) + 1
            else:
                for graph in _graphs(blob):
                    _read_graph(graph, operators, places)
        except ValueError:
            scan.report(Verdict.REVIEW, "malformed", blob.place, "a graph that cannot be read to its end")
        if sum(operators.values()) >= _MAX_NODES:
            scan.report(Verdict.REVIEW, "limit", blob.place, "more operators than are looked at")
        if not operators:
            scan.report(Verdict.REVIEW, "malformed", blob.place, "a graph without operators")
        for operator in sorted(operators):
            if operator in _HARMFUL:
                scan.report(
                    Verdict.BLOCK,
                    "tensorflow-operator",
                    f"{blob.place}@{operator}",
                    f"`{operator}` reads or writes files, reaches out, or runs code",
                )
            elif operator in _REVIEWED or ">" in operator:
                scan.report(
                    Verdict.REVIEW,
                    "tensorflow-operator",
                    f"{blob.place}@{operator}",
                    f"`{operator}` is of another library, or reaches out of the graph",
                )
        if places and any(_SAVES.match(operator) for operator in operators):
            shown = places[0][:80].decode("latin-1").strip("\x00\n\r\t ")
            scan.report(
                Verdict.BLOCK,
                "tensorflow-operator",
                blob.place,
                f"it saves or restores, and names a place outside: {shown!r}",
            )


def _is_saved_model(blob: Blob) -> bool:
    head = blob.head(64)
    if head[:1] != b"\x08" or len(head) < 8 or head[1] > 2 or head[2] != 0x12:
        return False
    try:
        number, start, end = next(iter(_fields(blob.data, 2, len(blob))))
        inner, first, last = next(iter(_fields(blob.data, start, end)))
    except (ValueError, StopIteration):
        return False
    return number == 2 and inner in (1, 2, 3, 4, 5) and last - first < end - start


def _is_graph(blob: Blob) -> bool:
    """Its first field is a node: a name, then an operator."""
    if blob.head(1) != b"\x0a":
        return False
    try:
        _number, start, end = next(iter(_fields(blob.data, 0, len(blob))))
        fields = _fields(blob.data, start, end)
        name, operator = next(fields), next(fields)
    except (ValueError, StopIteration):
        return False
    return (
        name[0] == 1
        and operator[0] == 2
        and bool(_OPERATOR.match(bytes(blob.data[operator[1] : min(operator[2], operator[1] + 200)])))
    )


def _graphs(blob: Blob) -> Iterator[memoryview]:
    if not _is_saved_model(blob):
        yield blob.data
        return
    for number, start, end in _fields(blob.data, 0, len(blob)):
        if number == 2:
            for inner, first, last in _fields(blob.data, start, end):
                if inner == 2:
                    yield blob.data[first:last]


def _read_graph(graph: memoryview, operators: dict[str, int], places: list[bytes]) -> None:
    for number, start, end in _fields(graph, 0, len(graph)):
        if number == 1:
            _read_node(graph[start:end], operators, places)
        elif number == 2:  # the library of functions
            for inner, first, last in _fields(graph, start, end):
                if inner == 1:
                    for part, node, stop in _fields(graph, first, last):
                        if part == 3:
                            _read_node(graph[node:stop], operators, places)


def _read_node(node: memoryview, operators: dict[str, int], places: list[bytes]) -> None:
    operator = ""
    for number, start, end in _fields(node, 0, len(node)):
        if number == 2:
            operator = bytes(node[start : min(end, start + 200)]).decode("utf-8", "replace")
        elif (
            number == 5
            and operator == "Const"
            and end - start < 65536
            and (found := _OUTSIDE.search(bytes(node[start:end])))
        ):
            places.append(found.group())
    if len(operators) < 5_000:
        operators[operator] = operators.get(operator, 0) + 1


def _fields(data: memoryview, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Each field's number and where its content lies; only fields with a length are given. Raises ValueError."""
    while at < end:
        key, at = _varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == 2:
            size, at = _varint(data, at, end)
            if number == 0 or at + size > end:
                raise ValueError("a length past the end")
            yield number, at, at + size
            at += size
        elif kind == 0:
            _value, at = _varint(data, at, end)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("a field of no known kind")
    if at > end:
        raise ValueError("a field past the end")


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without an end")
