"""`vallum login` and its kin; API keys, people and services."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vallum.cli.options import AsJson, Config, Data, Url
from vallum.cli.output import print_json, print_record, print_table, read_secret_line, report, say
from vallum.cli.registry import command, group
from vallum.cli.transport import credentials_file, keep_credential, load_credentials, opened, save_credentials
from vallum.kernel.errors import Invalid

__all__ = ["add_to"]

api_keys = group("API keys: what an application's SDK presents.")
people = group("People, who sign in with a password and a code.")
services = group("Services, which ask for access tokens with client credentials.")


def add_to(app: typer.Typer) -> None:
    example = "vallum login --url https://127.0.0.1:8443 --ca-file vallum-data/tls/ca.pem --name alice"
    command(app, "login", performs=("sign_in", "sign_in_handed_over"), example=example)(login)
    command(app, "logout", performs=("end_session",), example="vallum logout")(logout)
    command(app, "step-up", performs=("step_up",), example="vallum step-up")(step_up)
    command(app, "status", performs=("read_status",), example="vallum status")(status)
    app.add_typer(api_keys, name="keys")
    app.add_typer(people, name="people")
    app.add_typer(services, name="services")


def login(
    url: Annotated[str, typer.Option("--url", help="The server.")],
    name: Annotated[str | None, typer.Option("--name", help="Your sign-in name; without it, the browser asks.")] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="The server's CA, where it made its own.")] = None,
) -> None:
    """Sign in through the browser (single sign-on, passkeys), or with --name here.

    With --name, the password and the code are asked for; through a pipe, they are its first and second line.
    """
    from vallum.client import Client

    with Client(url, ca_file=ca_file) as client:
        if name is None:
            from vallum.cli.browser_login import code_from_browser

            issued = client.sign_in_handed_over(*code_from_browser(url, say))
        else:
            password = read_secret_line("Password: ")
            issued = client.sign_in(name, password, read_secret_line("Code: "))
    file = save_credentials(url, issued["secret"], ca_file)
    say(f"signed in as {issued['session']['name']}; the session is kept in {file}")


def logout() -> None:
    """Sign out, here and on the server."""
    if load_credentials() is None:
        say("nobody is signed in")
        return
    try:
        with opened(None, None) as transport:
            transport.perform("end_session")
    finally:
        credentials_file().unlink(missing_ok=True)
    say("signed out")


def step_up() -> None:
    """Prove your second factor afresh, for what asks for it."""
    code = read_secret_line("Code: ")
    with opened(None, None) as transport:
        issued = transport.perform("step_up", body={"code": code})
    keep_credential(issued["secret"])
    say("your second factor is fresh for some minutes")


def status(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Show the platform's state at a glance."""
    with opened(data, url, config) as transport:
        found = transport.perform("read_status")
    print_json(found) if as_json else print_record(found)


# API keys.


@command(
    api_keys, "issue", performs=("issue_key",),
    example="vallum keys issue handbook-assistant --label laptop --data vallum-data",
)  # fmt: skip
def issue_key(
    application: Annotated[str, typer.Argument(help="The application's name.")],
    label: Annotated[str, typer.Option("--label", help="What will tell this key from others.")],
    days: Annotated[int | None, typer.Option("--days", help="Days until it expires; never, without.")] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Only for this model of the application; several times.")
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Issue a key. The secret is printed this once, alone on standard output."""
    with opened(data, url, config) as transport:
        body = {"application_id": application, "label": label, "expires_in_days": days, "models": models or None}
        issued = transport.perform("issue_key", body=body)
    if as_json:
        print_json(issued)
        return
    print(issued["secret"])
    say(f"issued {issued['key']['id']} for {application}; keep the secret, it is not shown again")


@command(api_keys, "list", performs=("list_keys",), example="vallum keys list --data vallum-data")
def list_keys(
    application: Annotated[str | None, typer.Option("--application", help="Only this application's.")] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List keys, without their secrets."""
    with opened(data, url, config) as transport:
        query = {} if application is None else {"application_id": application}
        found = transport.perform("list_keys", query=query)
    if as_json:
        print_json(found)
        return
    rows = [
        (k["id"], k["application_id"], k["label"], " ".join(k["models"] or ["all"]), "…" + k["last4"],
         k["created_at"][:19], (k["last_used_at"] or "never")[:16], "revoked" if k["revoked_at"] else "active")
        for k in found
    ]  # fmt: skip
    print_table(("ID", "APPLICATION", "LABEL", "MODELS", "ENDS IN", "ISSUED", "LAST USED", "STATE"), rows)


@command(api_keys, "revoke", performs=("revoke_key",), example="vallum keys revoke key_01J… --data vallum-data")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key's id.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Revoke a key; every worker refuses it within a second."""
    with opened(data, url, config) as transport:
        transport.perform("revoke_key", path={"id": key_id})
    report(as_json, {"id": key_id}, f"revoked {key_id}")


# People.


@command(people, "list", performs=("list_persons",), example="vallum people list --data vallum-data")
def list_people(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List people and their roles."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_persons")
    if as_json:
        print_json(found)
        return
    rows = [(p["id"], p["name"], " ".join(p["roles"]), "disabled" if p["disabled_at"] else "active") for p in found]
    print_table(("ID", "NAME", "ROLES", "STATE"), rows)


@command(people, "invite", performs=("invite",), example="vallum people invite --role auditor --data vallum-data")
def invite(
    roles: Annotated[list[str], typer.Option("--role", help="A role; may be given several times.")],
    same_as: Annotated[
        str | None, typer.Option("--same-as", help="Id of a person whose second account this will be.")
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make a one-time enrolment link."""
    with opened(data, url, config) as transport:
        invitation = transport.perform("invite", body={"roles": roles, "same_as": same_as})
    print_json(invitation) if as_json else print(invitation["url"])


@command(people, "disable", performs=("disable_person",), example="vallum people disable per_01J… --data vallum-data")
def disable_person(
    person_id: Annotated[str, typer.Argument(help="The person's id.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """End somebody's access and every session of theirs."""
    with opened(data, url, config) as transport:
        transport.perform("disable_person", path={"id": person_id})
    report(as_json, {"id": person_id}, f"disabled {person_id}")


@command(people, "unlock", performs=("unlock_person",), example="vallum people unlock per_01J… --data vallum-data")
def unlock_person(
    person_id: Annotated[str, typer.Argument(help="The person's id.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let somebody's codes be judged again at once, after too many wrong ones beside their right password."""
    with opened(data, url, config) as transport:
        transport.perform("unlock_person", path={"id": person_id})
    report(as_json, {"id": person_id}, f"unlocked {person_id}")


# Services.


@command(services, "list", performs=("list_services",), example="vallum services list --data vallum-data")
def list_services(data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """List services and their roles."""
    with opened(data, url, config) as transport:
        found = transport.perform("list_services")
    if as_json:
        print_json(found)
        return
    rows = [
        (s["id"], s["name"], " ".join(s["roles"]), s["method"], "disabled" if s["disabled_at"] else "active")
        for s in found
    ]
    print_table(("ID", "NAME", "ROLES", "PROVES ITSELF BY", "STATE"), rows)


@command(
    services, "create", performs=("create_service",),
    example="vallum services create nightly-report --role auditor --data vallum-data",
)  # fmt: skip
def create_service(
    name: Annotated[str, typer.Argument(help="A name for it.")],
    roles: Annotated[list[str], typer.Option("--role", help="A role; may be given several times.")],
    jwks_file: Annotated[
        Path | None, typer.Option("--jwks-file", help="Its public keys (JWK set): it signs, and has no secret.")
    ] = None,
    spiffe_id: Annotated[
        str | None, typer.Option("--spiffe-id", help="It has certificates with this id (mutual TLS); auto: of ours.")
    ] = None,
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Create a service. Its client secret is printed this once; with --jwks-file or --spiffe-id it has none."""
    body = {
        "name": name, "roles": roles, "jwks": None if jwks_file is None else _read_json(jwks_file),
        "spiffe_id": spiffe_id,
    }  # fmt: skip
    with opened(data, url, config) as transport:
        issued = transport.perform("create_service", body=body)
    if as_json:
        print_json(issued)
        return
    if issued["client_secret"] is None:
        made = issued["service"]
        known_by = {"spiffe_id": made["spiffe_id"]} if made["spiffe_id"] else {"key_ids": " ".join(made["key_ids"])}
        print_record({"client_id": made["id"], **known_by})
        return
    print_record({"client_id": issued["service"]["id"], "client_secret": issued["client_secret"]})
    say("keep the secret, it is not shown again")


@command(
    services, "disable", performs=("disable_service",), example="vallum services disable svc_01J… --data vallum-data"
)
def disable_service(
    service_id: Annotated[str, typer.Argument(help="The service's id.")],
    data: Data = None, url: Url = None, config: Config = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """End a service's access; its tokens end with it."""
    with opened(data, url, config) as transport:
        transport.perform("disable_service", path={"id": service_id})
    report(as_json, {"id": service_id}, f"disabled {service_id}")


def _read_json(file: Path) -> object:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as e:
        raise Invalid(f"{file} cannot be read as JSON") from e
