"""`vallum release`: build, promote, approve, go back, and see what runs where."""

import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, printable, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import opened
from vallum.kernel.errors import Invalid

__all__ = ["app"]

app = group("Releases: one signed manifest of what runs together, promoted from environment to environment.")
canary = group("Trials: another release beside the one that runs.")
app.add_typer(canary, name="canary")

ReleaseId = Annotated[str, typer.Argument(help="The release's id, rel_….")]
PromotionId = Annotated[str, typer.Argument(help="The promotion's id, prm_….")]
Environment = Annotated[str, typer.Argument(help="dev, test, prod, …")]
Product = Annotated[str, typer.Argument(help="The product, as the releases name it.")]
Note = Annotated[str, typer.Option("--note", help="A word to whoever asked.")]

_MAX_FILE_BYTES = 8 << 20


@command(app, "build", performs=("build_release",), example="vallum release build release.toml")
def build(
    file: Annotated[Path, typer.Argument(help="What the release is made of, in TOML.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Build a release. Files that it names (prompt templates, the lock) are read beside it."""
    with opened(data, url, config) as transport:
        release = transport.perform("build_release", body=_declaration(file))
    report(as_json, release, f"built {release['id']}: {release['product']}, manifest {release['digest'][:16]}")


@command(app, "list", performs=("list_releases",), example="vallum release list --product credit")
def list_releases(
    product: Annotated[str | None, typer.Option("--product", help="Of this product alone.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List releases, newest first."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_releases", query={} if product is None else {"product": product})
    if as_json:
        print_json(found)
        return
    rows = [
        (r["id"], r["product"], r["classification"], r["risk_class"], r["state"], r["built_by"], r["built_at"][:19])
        for r in found
    ]
    print_table(("ID", "PRODUCT", "CLASS", "RISK", "STATE", "BY", "BUILT"), rows)


@command(app, "show", performs=("read_release",), example="vallum release show rel_01J…")
def show(
    release_id: ReleaseId,
    envelope: Annotated[Path | None, typer.Option("--envelope", help="Write the signed statement here.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show a release, what is in it and what is said of it."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_release", path={"id": release_id})
    if envelope is not None:
        try:
            envelope.write_text(found["envelope"])
        except OSError as e:
            raise Invalid(f"{envelope} cannot be written: {e.strerror}") from e
    if as_json:
        print_json(found)
        return
    print_record({name: value for name, value in found["release"].items() if value not in (None, "")})
    manifest = found["manifest"]
    print()
    rows = [("model", f"{m['name']}/{m['version']}", m["digest"]) for m in manifest["models"]]
    rows += [("prompt", p["name"], p["sha256"]) for p in manifest["prompts"]]
    rows += [("index", i["name"], i["digest"]) for i in manifest["indexes"]]
    rows += [("tool", tool, "") for tool in manifest["tools"]]
    if manifest["application"] is not None:
        rows.append(("guards", manifest["application"]["name"], manifest["application"]["guard_digest"]))
    rows.append(("policies", "", manifest["policy"]))
    if manifest["dependencies"] is not None:
        rows.append(("dependencies", "", manifest["dependencies"]))
    print_table(("PART", "NAME", "DIGEST"), rows)
    if found["evidence"]:
        print()
        told = [(e["kind"], "passed" if e["passed"] else "failed", e["by"], e["at"][:19]) for e in found["evidence"]]
        print_table(("EVIDENCE", "", "BY", "AT"), told)


@command(app, "diff", performs=("diff_releases",), example="vallum release diff rel_01J… rel_01K…")
def diff(
    before: ReleaseId,
    after: Annotated[str, typer.Argument(help="The release to compare it with.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what differs between two releases."""
    with opened(data, url, config) as transport:
        found = transport.perform("diff_releases", path={"id": before}, query={"other": after})
    if as_json:
        print_json(found)
        return
    for one in found:
        print(f"{printable(one['field'])}: {printable(one['before'] or '-')} -> {printable(one['after'] or '-')}")


@command(app, "check", performs=("check_release",), example="vallum release check rel_01J… --for prod")
def check(
    release_id: ReleaseId,
    environment: Annotated[str, typer.Option("--for", help="The environment whose checks are run.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run the checks that an environment demands, and say what is missing. Exits 1 when one does not pass."""
    with opened(data, url, config) as transport:
        query = {"environment": environment}
        found: list[dict[str, Any]] = transport.perform("check_release", path={"id": release_id}, query=query)
    if as_json:
        print_json(found)
    else:
        rows = [(c["check"], "pass" if c["passed"] else "FAIL", c["found"], c["remedy"]) for c in found]
        print_table(("CHECK", "", "FOUND", "WHAT TO DO"), rows)
    if not all(one["passed"] for one in found):
        raise typer.Exit(1)


@command(
    app, "attest", performs=("attest_data", "attest_tests", "attest_threats"),
    example="vallum release attest rel_01J… tests --passed --report results.xml",
)  # fmt: skip
def attest(
    release_id: ReleaseId,
    kind: Annotated[str, typer.Argument(help="data, tests or threats.")],
    document: Annotated[Path, typer.Option("--report", help="The document that it stands on; its digest is signed.")],
    passed: Annotated[bool, typer.Option("--passed/--failed", help="What it came to.")],
    note: Note = "", data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say, signed, how tests went, whether data is approved, or whether the threat model holds.

    Data and threats are for somebody else than the builder, with a fresh second factor: vallum step-up.
    """
    if kind not in ("data", "tests", "threats"):
        raise Invalid(f"{kind}: evidence is about data, tests or threats")
    body = {"passed": passed, "report": sha256(_bytes(document)).hexdigest(), "note": note}
    with opened(data, url, config) as transport:
        said = transport.perform(f"attest_{kind}", path={"id": release_id}, body=body)
    report(as_json, said, f"{said['id']}: {kind} {'passed' if passed else 'failed'}")


@command(
    app, "promote", performs=("request_promotion",),
    example='vallum release promote rel_01J… --to prod --reason "better on late payers"',
)  # fmt: skip
def promote(
    release_id: ReleaseId,
    environment: Annotated[str, typer.Option("--to", help="The environment.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever approves reads it.")],
    canary_percent: Annotated[
        int | None, typer.Option("--canary", min=1, max=99, help="As a canary that answers so many percent.")
    ] = None,
    shadow_percent: Annotated[
        int | None, typer.Option("--shadow", min=1, max=100, help="As a shadow that hears so many percent.")
    ] = None,
    slow: Annotated[int, typer.Option("--slow-ms", min=0, help="An answer slower than this speaks against it.")] = 0,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Ask that a release runs in an environment. Somebody else approves, where the environment asks for that."""
    if canary_percent is not None and shadow_percent is not None:
        raise Invalid("--canary and --shadow: give one of them")
    body: dict[str, Any] = {"release": release_id, "reason": reason, "slow_milliseconds": slow}
    if canary_percent is not None:
        body |= {"mode": "canary", "percent": canary_percent}
    if shadow_percent is not None:
        body |= {"mode": "shadow", "percent": shadow_percent}
    with opened(data, url, config) as transport:
        promotion = transport.perform("request_promotion", path={"environment": environment}, body=body)
    waits = promotion["state"] == "waiting"
    text = f"{promotion['id']} waits for somebody else's approval" if waits else _runs(promotion)
    report(as_json, promotion, text)


@command(
    app, "promotions", performs=("list_promotions", "read_promotion"), example="vallum release promotions prm_01J…"
)
def promotions(
    promotion_id: Annotated[str | None, typer.Argument(help="One, with its checks.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="waiting, approved, denied or cancelled.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List promotions, newest first, or show one."""
    with opened(data, url, config) as transport:
        if promotion_id is not None:
            one = transport.perform("read_promotion", path={"id": promotion_id})
            if as_json:
                print_json(one)
                return
            print_record({name: value for name, value in one.items() if name != "checks" and value not in (None, "")})
            print()
            rows = [(c["check"], "pass" if c["passed"] else "FAIL", c["found"]) for c in one["checks"]]
            print_table(("CHECK", "", "FOUND"), rows)
            return
        found = transport.perform("list_promotions", query={} if state is None else {"state": state})
    if as_json:
        print_json(found)
        return
    table = [
        (p["id"], p["environment"], p["release"], p["mode"], p["state"], p["requested_by"], p["reason"]) for p in found
    ]
    print_table(("ID", "TO", "RELEASE", "AS", "STATE", "BY", "REASON"), table)


@command(app, "approve", performs=("approve_promotion",), example="vallum release approve prm_01J…")
def approve(promotion_id: PromotionId, note: Note = "", url: Url = None, as_json: AsJson = False) -> None:
    """Approve a promotion, which deploys it. Wants a fresh second factor: vallum step-up."""
    with opened(None, url) as transport:
        one = transport.perform("approve_promotion", path={"id": promotion_id}, body={"note": note})
    given = f"{len(one['approvals'])} of {one['approvals_needed']}"
    report(as_json, one, _runs(one) if one["state"] == "approved" else f"approved: {given} approvals")


@command(app, "deny", performs=("deny_promotion",), example='vallum release deny prm_01J… --note "not before Monday"')
def deny(promotion_id: PromotionId, note: Note = "", url: Url = None, as_json: AsJson = False) -> None:
    """Refuse a promotion."""
    with opened(None, url) as transport:
        one = transport.perform("deny_promotion", path={"id": promotion_id}, body={"note": note})
    report(as_json, one, f"denied {one['id']}")


@command(app, "cancel", performs=("cancel_promotion",), example="vallum release cancel prm_01J…")
def cancel(
    promotion_id: PromotionId, data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Cancel your own promotion."""
    with opened(data, url, config) as transport:
        one = transport.perform("cancel_promotion", path={"id": promotion_id})
    report(as_json, one, f"cancelled {one['id']}")


@command(app, "status", performs=("list_environments",), example="vallum release status")
def status(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show what runs where, by whom it was approved, and when it was verified."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_environments")
    if as_json:
        print_json(found)
        return
    rows = []
    for environment in found:
        for one in environment["running"]:
            seen, trial = one["verified"], one["trial"]
            health = "not yet" if seen is None else " ".join(p["kind"] for p in seen["problems"]) or "as signed"
            health = "NOT LOADED" if one["troubles"] else health
            beside = "" if trial is None else f"{trial['kind']} {trial['percent']} % {trial['release']}"
            rows.append(
                (environment["name"], one["product"], one["release"], one["kind"], one["since"][:19],
                 " ".join(one["approved_by"]) or one["by"], health, "" if seen is None else seen["at"][:19], beside)
            )  # fmt: skip
    print_table(("ENVIRONMENT", "PRODUCT", "RELEASE", "BY WAY OF", "SINCE", "BY", "STATE", "VERIFIED", "BESIDE"), rows)
    for environment in found:
        for one in environment["running"]:
            for trouble in one["troubles"]:
                what = f"{trouble['model']} of {trouble['release']} in {environment['name']}"
                say(f"{what} is not loaded by {trouble['process']}: {trouble['why']}")


@command(app, "history", performs=("list_deployments",), example="vallum release history prod credit")
def history(
    environment: Environment, product: Product,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what ran of a product in an environment, newest first."""
    with opened(data, url, config) as transport:
        path, query = {"environment": environment}, {"product": product}
        found = transport.perform("list_deployments", path=path, query=query)
    if as_json:
        print_json(found)
        return
    rows = [(d["sequence"], d["release"], d["kind"], d["by"], d["at"][:19], d["ended"] or "runs") for d in found]
    print_table(("NUMBER", "RELEASE", "BY WAY OF", "BY", "SINCE", "ENDED"), rows)


@command(app, "rollback", performs=("roll_back",), example="vallum release rollback prod credit")
def rollback(
    environment: Environment, product: Product,
    to: Annotated[str | None, typer.Option("--to", help="An earlier release; else the last good one.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run the last good release again, at once. Wants a fresh second factor: vallum step-up."""
    body = {"product": product, "release": to}
    with opened(data, url, config) as transport:
        now = transport.perform("roll_back", path={"environment": environment}, body=body)
    report(as_json, now, f"{now['release']} runs in {environment}")


@command(app, "verify", performs=("verify_environment",), example="vallum release verify prod credit")
def verify(
    environment: Environment, product: Product,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Verify now what runs: signatures, bytes, configuration, what is loaded. Exits 1 when something differs."""
    with opened(data, url, config) as transport:
        body = {"product": product}
        found = transport.perform("verify_environment", path={"environment": environment}, body=body)
    if as_json:
        print_json(found)
    elif not found["problems"]:
        say(f"{product} in {environment} is as it was signed")
    else:
        print_table(("KIND", "WHAT"), [(p["kind"], p["what"]) for p in found["problems"]])
    if found["problems"]:
        raise typer.Exit(1)


@command(
    app, "revoke", performs=("revoke_release",), example='vallum release revoke rel_01J… --reason "leaks its prompt"'
)
def revoke(
    release_id: ReleaseId,
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Revoke a release for good: what runs it goes back. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        found = transport.perform("revoke_release", path={"id": release_id}, body={"reason": reason})
    where = f"; it ran in {', '.join(found['environments'])}" if found["environments"] else ""
    report(as_json, found, f"revoked {release_id}{where}")


@command(canary, "adopt", performs=("adopt_canary",), example="vallum release canary adopt prod credit")
def adopt(
    environment: Environment, product: Product,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Run the release on trial for every request. Wants a fresh second factor: vallum step-up."""
    with opened(data, url, config) as transport:
        now = transport.perform("adopt_canary", path={"environment": environment, "product": product})
    report(as_json, now, f"{now['release']} runs in {environment}")


@command(canary, "stop", performs=("stop_canary",), example="vallum release canary stop prod credit")
def stop(
    environment: Environment, product: Product,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """End a trial: every request meets the stable release again."""
    with opened(data, url, config) as transport:
        trial = transport.perform("stop_canary", path={"environment": environment, "product": product})
    report(as_json, trial, f"{trial['release']} is on trial no more")


def _runs(promotion: dict[str, Any]) -> str:
    where = f"{promotion['release']} runs in {promotion['environment']}"
    match promotion["mode"]:
        case "canary":
            return f"{where} for {promotion['percent']} % of the requests, beside what runs"
        case "shadow":
            return f"{where} beside what runs: it hears {promotion['percent']} % of the requests and answers none"
        case _:
            return where


def _declaration(file: Path) -> dict[str, Any]:
    """The file's own fields, with the texts and digests of the files that it names in place of their names."""
    try:
        declared = tomllib.loads(_bytes(file).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Invalid(f"{file}: not TOML ({e})") from e
    prompts = declared.get("prompts", [])
    if not isinstance(prompts, list) or not all(isinstance(prompt, dict) for prompt in prompts):
        raise Invalid(f"{file}: write prompts as [[prompts]] tables with name and file")
    for prompt in prompts:
        if "file" in prompt:
            named = _named(file, prompt.pop("file"))
            try:
                prompt["text"] = _bytes(named).decode()
            except UnicodeDecodeError as e:
                raise Invalid(f"{named} is not UTF-8") from e
    if "dependencies" in declared:
        declared["dependencies"] = sha256(_bytes(_named(file, declared["dependencies"]))).hexdigest()
    return declared


def _named(file: Path, name: object) -> Path:
    if not isinstance(name, str):
        raise Invalid(f"{file}: name files as text, relative to this one")
    return file.parent / name


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as opened_file:
            raw = opened_file.read(_MAX_FILE_BYTES + 1)
    except OSError as e:
        raise Invalid(f"{path} cannot be read: {e.strerror}") from e
    if len(raw) > _MAX_FILE_BYTES:
        raise Invalid(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
    return raw
