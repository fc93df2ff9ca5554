"""TensorFlow's SavedModel and frozen graphs: which operators their nodes are, by a bounded reader of protocol buffers.

A graph is a program: an operator that reads or writes files or calls Python does so when the model is run, and some when
it is loaded. Those of saving and restoring belong there, unless they name a place outside.
"""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from vallum.models.scan.languages.text import looks_like_text, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["TensorflowGraph", "judge_operator"]

_MAX_NODES = 500_000
_FIRST = tuple(bytes([number << 3 | kind]) for number in range(1, 10) for kind in (0, 2))
_MAX_FIELD = 16
_MAX_TRIED = 64
_MAX_TRIED_NUMBERS = 5_000
_MAX_PASSED_OVER = 300_000
_HARMFUL = frozenset(
    """ReadFile WriteFile MatchingFiles PyFunc PyFuncStateless EagerPyFunc LoadLibrary ShellExecute WholeFileReader
    WholeFileReaderV2 TextLineReader TextLineReaderV2 TFRecordReader FixedLengthRecordReader FixedLengthRecordReaderV2
    TextLineDataset TFRecordDataset FixedLengthRecordDataset FixedLengthRecordDatasetV2 CSVDataset CSVDatasetV2 SqlDataset LMDBReader LMDBDataset
    PrintV2File SaveDataset SaveDatasetV2 LoadDataset DatasetToTFRecord DebugIdentity DebugIdentityV2 DebugIdentityV3
    DebugNanCount DebugNumericSummary RemoteCall RpcCall RpcClient RpcServer GetRpcServer DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4 RpcServerStart RpcServerRegister
    MatchingFilesDataset ExperimentalMatchingFilesDataset LoadAndRemapMatrix
    RegisterDataset SnapshotDataset SnapshotDatasetV2 CacheDataset GenerateBigQueryReaderPartitions BigQueryReader
    IdentityReader ImportEvent WriteSummary CreateSummaryFileWriter CreateSummaryDbWriter WriteGraphSummary
    WriteRawProtoSummary CollectivePermute XlaLaunch NcclAllReduce CopyFile DeleteFile RenameFile FileSystemSetConfiguration
    GcsConfigureCredentials GcsConfigureBlockCache OutfeedEnqueue InfeedEnqueue""".split()
)  # fmt: skip
_REVIEWED = frozenset(
    "Send Recv _Send _Recv _HostSend _HostRecv Print PrintV2 DecodeProtoV2 EncodeProto CustomCall XlaCustomCall InitializeTableFromTextFile InitializeTableFromTextFileV2 Abort".split()
)
_ACTS = re.compile(
    r"Py(?:Func|Op|thon)|NumpyFunction|Shell|Exec(?!ut(?:or|e(?:TPU)))|Command|Popen|Download|Socket|Grpc|RpcServer|(?:Read|Write|Delete|Copy|Rename|Matching)Files?\b"
    r"|File(?:Read|Write)|(?:Text|Record|CSV|Sql|LMDB|Kafka|Kinesis|PubSub|Cache|Snapshot|Save|Load|Register|Generator)\w*Dataset(?:V\d|Reader)?\Z"
    r"|Reader(?:Read|Restore)\w*\Z|XlaHostCompute|Payload"
)
# Libraries of operators that are widely used; a person decides whether this one is expected.
_THIRD = re.compile(
    r"(?:Addons|Text|IO|TFText|Horovod|TFR|TFDF|TfDecisionForests)>|SimpleML\w+|\w*Sentencepiece\w*|Wordpiece\w*|Regex\w+|\w*Ragged\w*|TRTEngineOp|CreateTRT\w*|InitializeTRT\w*"
    r"|Horovod\w+|Normalize\w*UTF8\w*|FastWordpiece\w*|\w*Tokenize\w*|CaseFold\w*|TFLite_\w+|Xla\w+|TPU\w*|Tpu\w*|Mlir\w*|Quantized\w+|Uniform\w+|Cudnn\w+|Nccl\w+|Ngram\w+"
)
_SAVES = re.compile(r"(?:Save|Restore|MergeV2Checkpoints|ShardedFilename)")
_OPERATOR = re.compile(rb"_?[A-Z][A-Za-z0-9_>]{0,120}\Z")
_OUTSIDE = re.compile(
    rb"(?:^|[\x00-\x1f\"])(?:/(?:etc|root|home|proc|usr|var|dev|sys|tmp)/|~/|\.\./|[A-Z]:\\\\|(?:https?|ftp|gs|s3|hdfs)://)[\w./~-]+|\.ssh/|\.\./\.\./"
)
# An operator's own attribute: names of other nodes and devices, and none of these.
_ADDRESS = re.compile(
    rb"(?:(?:file|https?|ftp|gs|s3|hdfs|tcp|grpc)://(?=[\w~/])|/(?:etc|root|proc|home|var|tmp)/|\.\./\.\./|~/\.|\.ssh/)[\w./~:@-]{0,120}"
)
_OF_AN_EXPORT = re.compile(rb"\A[\x00-\x1f\"]?/(?:home|usr|var|tmp|dev|sys)/(?!.*(?:\.ssh|\.aws|\.netrc|/\.\./))")
_OF_ATTRIBUTE = b"attribute of "
_TABLES = re.compile(r"(?:Mutable|Anonymous)*(?:Dense)?HashTable")  # shared under a name, which is made of a file's
_TEXT_GRAPH = re.compile(rb"\b(?:node|node_def|meta_graphs|meta_info_def|graph_def)\s*:?\s*[{<]")
_LITERAL = r"(?:\"(?:[^\"\\\n]|\\.){0,500}\"|'(?:[^'\\\n]|\\.){0,500}')"
_TEXT_VALUE = re.compile(rf"(?<![\w.])(op|s)\s*:\s*({_LITERAL}(?:\s{{0,50}}{_LITERAL}){{0,20}})")


class TensorflowGraph:
    name = "tensorflow"

    def recognises(self, blob: Blob) -> bool:
        if looks_like_text(blob):
            return blob.name.endswith(".pbtxt") or _TEXT_GRAPH.search(blob.head(65536)) is not None
        return bool(_graphs(blob))

    def inspect(self, blob: Blob, scan: Scan) -> None:
        operators: dict[str, int] = {}
        places: list[bytes] = []
        try:
            if looks_like_text(blob):
                _read_text(text_of(blob) or "", operators, places)
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
            verdict, why = judge_operator(operator)
            if verdict is not Verdict.PASS:
                scan.report(verdict, "tensorflow-operator", f"{blob.place}@{operator}", f"`{operator}` {why}")
        own = [place for place in places if not place.startswith(_OF_ATTRIBUTE)]
        if not any(_SAVES.match(operator) for operator in operators):
            # A vocabulary's file is among the model's assets, whose path may be that of where it was exported.
            reads = any(operator.startswith("InitializeTable") for operator in operators)
            own = [place for place in own if reads and not _OF_AN_EXPORT.search(place)]
        for place in [place for place in places if place.startswith(_OF_ATTRIBUTE)][:1] + own[:1]:
            shown = place[:120].decode("latin-1").strip("\x00\n\r\t ")
            text = f"it writes, saves or restores, and names a place outside: {shown!r}"
            scan.report(Verdict.BLOCK, "tensorflow-operator", blob.place, text)


def judge_operator(operator: str) -> tuple[Verdict, str]:
    """The verdict on one operator by its name, and what to say of it."""
    plain = operator.removeprefix("Experimental")
    if plain in _HARMFUL or _ACTS.search(plain):
        return Verdict.BLOCK, "reads or writes files, reaches out, or runs code"
    if operator in _REVIEWED:
        return Verdict.REVIEW, "reaches out of the graph"
    if operator in _own_operators() or operator.startswith("_"):
        return Verdict.PASS, ""
    if _THIRD.match(operator):
        return Verdict.REVIEW, "is of another library, which has to be loaded for it"
    return Verdict.BLOCK, "is not TensorFlow's own: whoever runs it has to load native code for it"


@cache
def _own_operators() -> frozenset[str]:
    text = files(__package__).joinpath("tensorflow_operators.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


def _graphs(blob: Blob) -> list[memoryview]:
    """The graphs in it, by structure: a graph itself, a meta graph, or a saved model of such. Fields have no order."""
    if blob.head(1) not in _FIRST:
        return []
    found = []
    for number, start, end in _first_fields(blob.data):
        if number != 2:
            continue
        inner = blob.data[start:end]
        if _is_graph(inner):
            found.append(inner)
        else:
            found += [inner[a:b] for kind, a, b in _first_fields(inner) if kind == 2 and _is_graph(inner[a:b])]
    return found or ([blob.data] if _is_graph(blob.data) else [])


def _is_graph(graph: memoryview) -> bool:
    """It has a node, or a function with one."""
    for number, start, end in _first_fields(graph):
        if number == 1 and _is_node(graph[start:end]):
            return True
        if number == 2:
            library = graph[start:end]
            for kind, first, last in _first_fields(library):
                function = library[first:last]
                if kind == 1 and any(n == 3 and _is_node(function[a:b]) for n, a, b in _first_fields(function)):
                    return True
    return False


def _is_node(node: memoryview) -> bool:
    operators = [bytes(node[a : min(b, a + 200)]) for number, a, b in _first_fields(node) if number == 2]
    return len(operators) == 1 and _OPERATOR.match(operators[0]) is not None


def _first_fields(data: memoryview) -> list[tuple[int, int, int]]:
    """None of what is no protocol buffer from start to end, or has fields that no graph has."""
    found = []
    try:
        for field in _fields(data, 0, len(data), _MAX_TRIED_NUMBERS):
            if field[0] > _MAX_FIELD:
                return []
            found.append(field)
            if len(found) >= _MAX_TRIED:
                break
    except ValueError:
        return []
    return found


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
    fields = [(number, node[start:end]) for number, start, end in _fields(node, 0, len(node))]
    names = [bytes(value[:200]).decode("utf-8", "replace") for number, value in fields if number == 2]
    operator = names[-1] if names else ""
    for number, value in fields:
        if number != 5 or len(value) >= 65536:
            continue
        if operator == "Const" and (found := _OUTSIDE.search(bytes(value))):
            places.append(found.group())
        elif (
            operator != "Const"
            and not _TABLES.match(operator)
            and (found := _ADDRESS.search(bytes(value)))
            and len(places) < 5_000
        ):
            places.append(_OF_ATTRIBUTE + operator.encode() + b" " + found.group())
    if len(operators) < 5_000:
        operators[operator] = operators.get(operator, 0) + 1


def _read_text(text: str, operators: dict[str, int], places: list[bytes]) -> None:
    """Operators and strings of attributes in the text format, whose literals may be escaped and in pieces."""
    for name, literal in _TEXT_VALUE.findall(text):
        try:
            value = str(ast.literal_eval(f"({literal})"))[:500]
        except (ValueError, SyntaxError, MemoryError):
            value = literal[:500]
        if name == "op" and len(operators) < 5_000:
            operators[value] = operators.get(value, 0) + 1
        elif name == "s" and (found := _ADDRESS.search(value.encode("utf-8", "replace"))) and len(places) < 5_000:
            places.append(_OF_ATTRIBUTE + found.group())


def _fields(data: memoryview, at: int, end: int, most: int = _MAX_PASSED_OVER) -> Iterator[tuple[int, int, int]]:
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
            continue
        most -= 1  # numbers take a byte or two: a file of them is no graph, and takes seconds
        if most < 0:
            raise ValueError("more numbers than a message has")
        if kind == 0:
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
