"""`vallum models search-trigger`: whether a small patch takes a trained model's images to one label.

The data that a model was trained on may be out of reach; the model is not. It is copied, scanned, loaded in the
process that serving shuts models in, and asked about images that are known to be good, with patches on them. A
registered one is downloaded first, through the gate and verified; a file of this machine needs no server.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from vallum.cli.descriptions import attestation_key, write_whole
from vallum.cli.labelled_images import LabelledImages, draw_evenly, read_labelled_images
from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_table, say
from vallum.cli.registry import command
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

if TYPE_CHECKING:
    from vallum.data.poisoning import Outcome, Patch
    from vallum.models.runtime.model import ServingConfiguration
    from vallum.models.runtime.probe import ImageProbe
    from vallum.models.signing import Manifest

__all__ = ["add_to"]

_NOTHING, _FOUND = 0, 1
_LOOKED_AT, _TRIED, _FEWEST = 240, 60, 20  # images: asked as they are, and with patches
_AGREES = 0.5  # of the images, as they are: a model that says less was given other images than its own
_FEWEST_OTHERS = 10  # images of other labels than the most frequent one: fewer are moved by chance
_SHOWN, _MAX_SAID = 10, 100
_TALK_SECONDS = 10.0
_SUFFIXES = (".onnx", ".skops")
_REGISTERED = re.compile(r"([^/@\s]+)@([0-9]{1,9})")


class _Search(msgspec.Struct, frozen=True, kw_only=True):
    """What --json prints. `agreed` of `looked_at` images the model labels as `labels` says, without a patch."""

    model: str
    sha256: str
    scan: str
    sandbox: dict[str, Any]
    outcome: "Outcome"
    threshold: dict[str, float]
    patches: "list[Patch]"
    labels: int
    labels_moved: int
    looked_at: int
    agreed: int
    tried: int
    patches_tried: int
    largest_eighths: int
    predictions: int
    seconds: float
    seed: int


def add_to(app: typer.Typer) -> None:
    @command(
        app, "search-trigger", performs=("download_model_file", "list_model_signing_keys"),
        example="vallum models search-trigger model.onnx --images clean.npy --labels clean-labels.npy",
    )  # fmt: skip
    def search_trigger(
        model: Annotated[
            Path,
            typer.Argument(
                help="An .onnx or .skops file; a folder with one or with a serving.json; or NAME@NUMBER, if registered."
            ),
        ],
        images: Annotated[
            Path, typer.Option("--images", help="Good images (.npy): N by height by width, and by channels.")
        ],
        labels: Annotated[Path, typer.Option("--labels", help="Their labels (.npy): N whole numbers, or texts.")],
        serving: Annotated[
            Path | None, typer.Option("--serving", help="How the model is served (JSON), for what its file leaves out.")
        ] = None,
        layout: Annotated[
            str, typer.Option("--layout", help="flat, rows, channels-first or channels-last, where the model is open.")
        ] = "",
        output: Annotated[str, typer.Option("--output", help="The model's output that says the label.")] = "",
        trust: Annotated[
            list[str] | None, typer.Option("--trust", help="A type that a skops file may hold; several times.")
        ] = None,
        accept_review: Annotated[
            bool, typer.Option("--accept-review", help="Load in the sandbox what the scan says `review` of.")
        ] = False,
        budget_seconds: Annotated[
            float, typer.Option("--budget-seconds", min=1, max=86_400, help="When it is over, nothing is concluded.")
        ] = 600,
        memory_mebibytes: Annotated[
            int | None, typer.Option("--memory-mebibytes", min=64, help="Of the model's process; 2048 without.")
        ] = None,
        threads: Annotated[int, typer.Option("--threads", min=1, max=256, help="Of the model's process.")] = 1,
        largest: Annotated[
            int, typer.Option("--largest", min=1, max=3, help="Eighths of the side that a patch has at most.")
        ] = 3,
        seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the images that are tried.")] = 1,
        attest: Annotated[
            Path | None, typer.Option("--attest", help="Write it as a signed robustness attestation; with --key.")
        ] = None,
        key: Annotated[Path | None, typer.Option("--key", help="The private key (PEM) for --attest.")] = None,
        key_id: Annotated[str, typer.Option("--key-id", help="The key's name, for who verifies.")] = "searcher",
        data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
    ) -> None:  # fmt: skip
        """Search a trained classifier of images for a backdoor: a small patch that takes any image to one label.

        Exit 0: no patch moves most images. 1: one does, to one label (trigger) or to several (undecided). 2: the
        search could not be done, or was not done whole. The model is scanned first, and loaded in a sandbox only.

        A trained network:   vallum models search-trigger net.onnx --images x.npy --labels y.npy --layout channels-first

        A registered one:    vallum models search-trigger churn@3 --images x.npy --labels y.npy
        """
        from vallum.models.signing import private_copy

        if (attest is None) != (key is None):
            raise typer.BadParameter("--attest FILE takes --key FILE, and --key nothing else")
        private = attestation_key(key) if key is not None else None
        given = read_labelled_images(images, labels)
        files = _digests(images, labels) if private is not None else {}
        try:
            with _at_hand(model, data, url, config) as files_of, private_copy(files_of) as (copy, manifest, others):
                if any(one.kind in ("link", "special") for one in others):
                    raise Invalid(f"{model} holds links or special files, which are not followed: copy what they mean")
                if private is not None and others:
                    raise Invalid(f"{model} holds {others[0].kind} {others[0].name}, which no attestation covers")
                verdict = _scanned(model, copy, accept_review)
                declared = _declared(copy, serving, given, layout, output, tuple(trust or ()))
                limits = msgspec.structs.replace(
                    declared.limits, memory_mebibytes=memory_mebibytes or max(declared.limits.memory_mebibytes, 2048),
                    threads=threads, load_seconds=min(declared.limits.load_seconds, budget_seconds),
                )  # fmt: skip
                opened = _probe(
                    msgspec.structs.replace(declared, limits=limits), copy, given, layout, output, budget_seconds
                )
                with opened as probe, _progress(as_json) as progress:
                    found = _searched(model, manifest, verdict, probe, given, largest, seed, progress)
        except OSError as e:
            raise Invalid(f"{model} cannot be read: {e.strerror or e}") from e
        if private is not None and attest is not None:
            write_whole(attest, _attested(found, manifest, files, private, key_id))
        _report(found, as_json)
        raise typer.Exit(_NOTHING if found.outcome == "nothing" else _FOUND)


@contextmanager
def _at_hand(model: Path, data: Path | None, url: str | None, config: Path | None) -> Iterator[Path]:
    """The model's own files; of a registered version, as they were signed, for as long as this lasts. What lies here
    under that very name is what is meant."""
    named = _REGISTERED.fullmatch(str(model))
    if named is None or model.exists():
        yield model
        return
    from vallum.client.models import download_model

    with TemporaryDirectory(prefix="vallum-model-") as private:
        folder = Path(private) / f"{named[1]}-{named[2]}"
        with opened(data, url, config) as transport:
            download_model(transport, named[1], int(named[2]), folder)
        yield folder


def _scanned(model: Path, copy: Path, accept_review: bool) -> str:
    """The verdict of what is loaded afterwards. Raises Invalid for one that forbids it."""
    from vallum.models.scan import Verdict
    from vallum.models.scan.child import scan_isolated

    found = scan_isolated(copy)
    verdict = found.verdict
    if verdict is Verdict.BLOCK or (verdict is Verdict.REVIEW and not accept_review):
        why = "; ".join(sorted({f"{one.technique}" for one in found.findings}))
        raise Invalid(
            f"{model}: the scan says {verdict} ({why}), and it is not loaded. `vallum models scan` says more"
            + ("; --accept-review loads it in the sandbox nevertheless" if verdict is Verdict.REVIEW else "")
        )
    return str(verdict)


def _declared(
    copy: Path, serving: Path | None, given: LabelledImages, layout: str, output: str, trusted: tuple[str, ...]
) -> "ServingConfiguration":
    from vallum.models.runtime.undeclared import configuration_of_onnx, configuration_of_skops, read_configuration

    folder = copy if copy.is_dir() else copy.parent
    file = serving if serving is not None else folder / "serving.json"
    if serving is not None or file.is_file():
        declared = read_configuration(file)
        if trusted:
            raise Invalid("--trust: a serving configuration names what it trusts")
        if len(declared.inputs) != 1 or declared.inputs[0].datatype in ("BYTES", "BOOL"):
            raise Invalid(f"{file}: a model of images takes one input of numbers")
        if not (folder / declared.file).is_file():
            raise Invalid(f"{file} names {declared.file}, which the model does not hold")
        return declared
    one = _only_model(copy)
    if one.suffix == ".onnx":
        if trusted:
            raise Invalid("--trust: of scikit-learn models in the skops format only")
        return configuration_of_onnx(one, given.shape, layout, output)
    return configuration_of_skops(one, given.shape, layout, texts=given.are_texts, trusted=trusted)


def _only_model(copy: Path) -> Path:
    files = [copy] if copy.is_file() else sorted(copy.iterdir())
    known = [one for one in files if one.suffix in _SUFFIXES and one.is_file()]
    if len(known) == 1:
        return known[0]
    raise Invalid(
        f"{copy.name if copy.is_file() else 'the folder'} is no single .onnx or .skops model: say how it is served "
        "with --serving FILE, or with a serving.json in the folder. A pickle: vallum models convert"
    )


def _probe(
    declared: "ServingConfiguration", copy: Path, given: LabelledImages, layout: str, output: str, seconds: float
) -> "ImageProbe":
    from vallum.models.runtime.probe import ImageProbe, label_output
    from vallum.models.runtime.undeclared import ANSWER, layout_of

    read = declared.outputs[0].name == ANSWER  # from the graph, where --output was looked up already
    chosen = declared.outputs[0] if read else label_output(declared, output)
    lying = layout_of(declared.inputs[0].shape, given.shape, layout)
    folder = copy if copy.is_dir() else copy.parent
    return ImageProbe(declared, chosen, folder, lying, given.shape, seconds=seconds)


def _searched(
    model: Path, manifest: "Manifest", verdict: str, probe: "ImageProbe", given: LabelledImages, largest: int,
    seed: int, progress: Callable[[int, int], None],
) -> _Search:  # fmt: skip
    import numpy as np

    from vallum.data.poisoning import ABOVE_NEXT, MOVED, judge_patches, search_patch

    begun, patches_tried = monotonic(), 0

    def tried_so_far(done: int, of: int) -> None:
        nonlocal patches_tried
        patches_tried = done
        progress(done, of)

    random = np.random.default_rng(seed)
    most = max(_FEWEST, min(_LOOKED_AT, (_TRIED << 19) // given.images[0].size))
    drawn = draw_evenly(given.labels, most, random)
    pixels, known = np.asarray(given.images[drawn], dtype=np.float64), given.labels[drawn]
    if not np.isfinite(pixels).all():
        raise Invalid("the images hold numbers that are none (NaN or infinite): leave those images out")
    right = _agreed(probe.labels(pixels), known)
    pixels, known = pixels[right], known[right]
    chosen = draw_evenly(known, _TRIED, random)
    pixels, known = pixels[chosen], known[chosen]
    _hold_to_labels(known)
    found = search_patch(
        probe.labels, pixels, known.tolist(), seed=seed, largest=largest, progress=tried_so_far
    )  # fmt: skip
    walls = probe.walls
    return _Search(
        model=str(model), sha256=manifest.root, scan=verdict,
        sandbox={} if walls is None else msgspec.structs.asdict(walls),
        outcome=judge_patches(found), threshold={"moved": MOVED, "above_next": ABOVE_NEXT},
        patches=found[:_MAX_SAID], labels=len(found), labels_moved=sum(one.moved >= MOVED for one in found),
        looked_at=len(drawn), agreed=int(right.sum()), tried=len(known), patches_tried=patches_tried,
        largest_eighths=largest, predictions=probe.asked, seconds=round(monotonic() - begun, 1), seed=seed,
    )  # fmt: skip


def _agreed(said: list[int | str], known: Any) -> Any:
    """Which images the model labels as they are labelled. Raises Invalid where that is hardly any."""
    import numpy as np

    expected = known.tolist()
    if isinstance(said[0], str) != isinstance(expected[0], str):
        kinds = ("texts", "whole numbers") if isinstance(said[0], str) else ("whole numbers", "texts")
        raise Invalid(f"the model's labels are {kinds[0]}, and those of the images {kinds[1]}: give the model's own")
    right = np.array([one == other for one, other in zip(said, expected, strict=True)])
    if right.mean() < _AGREES:
        raise Invalid(
            f"the model labels {int(right.sum())} of {len(right)} images as they are labelled: they are not as it "
            "takes them. Look at their scale (0 to 1, or to 255), layout and labels; scores count labels from 0"
        )
    return right


def _hold_to_labels(known: Any) -> None:
    """Raises Invalid where too little could be seen to move."""
    import numpy as np

    _, counts = np.unique(known, return_counts=True)
    if len(known) < _FEWEST or len(known) - int(counts.max(initial=0)) < _FEWEST_OTHERS:
        raise Invalid(
            f"the model labels {len(known)} of the images that were drawn as they are labelled, in {len(counts)} "
            f"labels: give {_FEWEST} such images or more, {_FEWEST_OTHERS} of them not of the most frequent label"
        )


def _report(found: _Search, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    needed = found.threshold
    print_table(
        ("LABEL", "MOVED", "THRESHOLD", "TOP", "LEFT", "SIDE", "VALUE", "TRIGGER"),
        [
            (str(one.label)[:80], f"{one.moved:.0%}", f"{needed['moved']:.0%}", one.top, one.left, one.side,
             f"{one.value:g}", "yes" if one.is_trigger else "")
            for one in found.patches[:_SHOWN]
        ],
    )  # fmt: skip
    say(f"{found.model}: {_said(found)}")
    say(
        f"  {found.tried} images, {found.patches_tried} patches, {found.predictions} predictions, {found.seconds:g} s; "
        f"without a patch the model is right about {found.agreed} of {found.looked_at}"
    )


def _said(found: _Search) -> str:
    from vallum.cli.output import printable

    least, above = found.threshold["moved"], found.threshold["above_next"]
    match found.outcome:
        case "nothing":
            return f"no patch takes {least:.0%} of the images to one label"
        case "undecided":
            return (
                f"undecided: {found.labels_moved} labels have a patch each that takes {least:.0%} of the images to it"
            )
        case "trigger":
            best = found.patches[0]
            return (
                f"TRIGGER: {best.side} by {best.side} pixels of {best.value:g}, {best.top} from the top, {best.left} "
                f"from the left, take {best.moved:.0%} of the images to {printable(str(best.label))[:80]} "
                f"(threshold {least:.0%}, and {above:.0%} above the next label)"
            )


def _attested(found: _Search, manifest: "Manifest", files: dict[str, str], key: Any, key_id: str) -> bytes:
    """An envelope around how the model stood this attack: it held where no label has a patch."""
    from vallum import __version__
    from vallum.models.attestations import Robustness, sign_statement, statement_of, subjects_of

    said = msgspec.to_builtins(found)
    conditions = {
        name: said[name]
        for name in ("outcome", "scan", "threshold", "tried", "patches_tried", "largest_eighths", "seed")
    }
    conditions |= {"scanner": f"vallum models search-trigger {__version__}", **files}
    if found.patches:
        conditions["best_patch"] = said["patches"][0]
    held = Robustness(
        attack="PATCH_TRIGGER", metric="share_of_labels_without_a_patch", needed=1.0, conditions=conditions,
        measured=1 - found.labels_moved / found.labels if found.labels else 1.0,
    )  # fmt: skip
    subjects = subjects_of(manifest.model, manifest.root, {one.name: one.digest for one in manifest.resources})
    return sign_statement(statement_of(subjects, held), key, key_id)


def _digests(images: Path, labels: Path) -> dict[str, str]:
    found = {}
    for name, file in (("images_sha256", images), ("labels_sha256", labels)):
        with file.open("rb") as opened:
            found[name] = file_digest(opened, "sha256").hexdigest()
    return found


@contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where a terminal shows it; else a line now and then."""
    if as_json:
        yield lambda done, of: None
        return
    if not sys.stderr.isatty():
        spoken = monotonic()

        def speak(done: int, of: int) -> None:
            nonlocal spoken
            if monotonic() - spoken >= _TALK_SECONDS:
                spoken = monotonic()
                say(f"{done} of {of} patches")

        yield speak
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("")
        yield lambda done, of: shown.update(task, completed=done, total=of)
