"""The Cedar project's handwritten integration tests: the engine decides as Cedar says, and the wrapper never looser.

Where the wrapper is stricter is said here, too: a policy that fails makes a denial, whatever the others say, and so
does a request that leaves somebody unnamed or does not fit the schema.
"""

import itertools
import json
from pathlib import Path

import cedarpy
import pytest

from vallum.kernel.cedar.check import problems_of
from vallum.kernel.cedar.syntax import PolicyRefused
from vallum.kernel.policy.engine import _evaluate
from vallum.kernel.policy.policy_set import PolicySet

CEDAR = json.loads((Path(__file__).parents[3] / "vectors" / "cedar" / "handwritten.json").read_text())
TESTS = {test["name"]: test for test in CEDAR["tests"]}
REQUESTS = [(test, request) for test in CEDAR["tests"] for request in test["requests"]]

# Cedar's third version took requests that leave principal or resource unspecified; today's has none of them.
UNSPECIFIED = [(test, request) for test, request in REQUESTS if None in (request["principal"], request["resource"])]
SPECIFIED = [(test, request) for test, request in REQUESTS if None not in (request["principal"], request["resource"])]
OVERFLOWS = "\n{effect}(principal, action, resource) when {{ 9223372036854775807 + 1 > 0 }};"


def named(pairs):
    return pytest.mark.parametrize(
        ("test", "request_"), pairs, ids=[f"{t['name']}: {r['description']}".replace(" ", "_") for t, r in pairs]
    )


def policy_set(test, more=""):
    return PolicySet.parse({"policies.cedar": test["policies"] + more}, CEDAR["schemas"][test["schema"]])


def entities(test):
    return CEDAR["entities"][test["entities"]]


def question(request):
    return {name: request[name] for name in ("principal", "action", "resource", "context")}


def by_cedar(test, request, more=""):
    schema = CEDAR["schemas"][test["schema"]]
    return cedarpy.is_authorized(question(request), test["policies"] + more, entities(test), schema)


def by_wrapper(test, request, more=""):
    parsed = policy_set(test, more)
    return _evaluate(
        parsed, question(request), cedarpy.Entities.from_json_str(json.dumps(entities(test)), parsed.schema)
    )


def test_none_was_lost():
    assert (len(TESTS), len(SPECIFIED), len(UNSPECIFIED)) == (22, 75, 3)


@pytest.mark.parametrize("name", TESTS)
def test_the_policies_fit_their_schema(name):
    """All that is wrong with them here is that they have no ids, by which decisions name them."""
    test = TESTS[name]
    problems = problems_of(test["policies"], CEDAR["schemas"][test["schema"]])
    assert {"@id(" in problem for problem in problems} == {test["shouldValidate"]}


@named(SPECIFIED)
def test_the_same_decision_for_the_same_reasons(test, request_):
    raw = by_cedar(test, request_)
    assert (raw.decision.value, sorted(raw.diagnostics.reasons)) == (request_["decision"], request_["reasons"])
    assert (raw.diagnostics.errors, request_["errors"]) == ([], [])
    decision = by_wrapper(test, request_)
    assert (decision.effect, list(decision.policies)) == (request_["decision"].lower(), request_["reasons"])


@named(UNSPECIFIED)
def test_nobody_is_decided_about_unnamed(test, request_):
    """One of them Cedar's third version allowed."""
    with pytest.raises(TypeError, match="must be a string"):
        by_wrapper(test, request_)  # `decide` makes a denial of it, and its own requests always name everybody


def everything(test):
    """Every principal, action and resource of the sandbox and its tests, with every context that these have."""
    people = [e["uid"] for e in entities(test) if e["uid"]["type"] in ("User", "Administrator")]
    things = [e["uid"] for e in entities(test) if e["uid"]["type"] in ("Photo", "Video", "Album", "Account")]
    things += [r["resource"] for r in test["requests"] if r["resource"] is not None and r["resource"] not in things]
    actions = ["view", "comment", "edit", "delete", "addPhoto", "listPhotos", "listAlbums", "nothing"]
    contexts = {json.dumps(request["context"], sort_keys=True) for request in test["requests"]}
    for principal, action, resource, context in itertools.product(people, actions, things, sorted(contexts)):
        yield {
            "principal": principal, "action": {"type": "Action", "id": action}, "resource": resource,
            "context": json.loads(context),
        }  # fmt: skip


def both(test, more=""):
    """Each of these requests with what Cedar and the wrapper make of it."""
    parsed = policy_set(test, more)
    raw = cedarpy.PolicySet.from_str(test["policies"] + more)
    known = cedarpy.Entities.from_json_str(json.dumps(entities(test)), parsed.schema)
    for asked in everything(test):
        yield asked, cedarpy.is_authorized(asked, raw, known, parsed.schema), _evaluate(parsed, asked, known)


@pytest.mark.parametrize("name", TESTS)
def test_the_wrapper_is_never_looser(name):
    """It allows what Cedar allows without an error, and nothing else."""
    test, allowed = TESTS[name], 0
    for asked, raw, decision in both(test):
        sound = raw.decision is cedarpy.Decision.Allow and not raw.diagnostics.errors
        assert (decision.effect == "allow") is sound, asked
        allowed += sound
    assert allowed > 0


@pytest.mark.parametrize("effect", ["permit", "forbid"])
@pytest.mark.parametrize("name", TESTS)
def test_a_policy_that_fails_is_a_denial(name, effect):
    """Cedar skips a policy that fails, forbidding ones as well, and goes by the others; nothing is allowed here."""
    stricter = 0
    for asked, raw, decision in both(TESTS[name], OVERFLOWS.format(effect=effect)):
        assert decision.effect == "deny", asked
        stricter += raw.decision is cedarpy.Decision.Allow
    assert stricter > 0


@named(SPECIFIED)
def test_what_does_not_fit_the_schema_is_a_denial(test, request_):
    for change in (
        {"action": {"type": "Action", "id": "nothing"}}, {"principal": {"type": "Nobody", "id": "alice"}},
        {"principal": request_["resource"]}, {"resource": request_["principal"]},
        {"context": {}}, {"context": {**request_["context"], "more": True}},
        {"context": {**request_["context"], "authenticated": "yes"}},
    ):  # fmt: skip
        assert by_wrapper(test, {**request_, **change}).effect == "deny", change


@pytest.mark.parametrize("name", [name for name in TESTS if not name.startswith("multi/")])
def test_a_policy_cut_anywhere_is_refused(name):
    test = TESTS[name]
    text = test["policies"].strip()
    for length in range(text.index("permit") + 1, len(text)):
        with pytest.raises(PolicyRefused):
            PolicySet.parse({"policies.cedar": text[:length]}, CEDAR["schemas"][test["schema"]])
