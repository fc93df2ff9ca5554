"""Bills of materials: held to the official schemas, deterministic, read back, and refused where they contradict."""

import json
import os
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cyclonedx.model.bom import Bom
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import Invalid
from vallum.models.bom import (
    SPEC_VERSIONS,
    BomRefused,
    facts_of_bom,
    facts_of_folder,
    parse_bom,
    render_bom,
    serial_number,
    validate_bom,
)
from vallum.models.facts import BaseModel, Dataset, Dependency, Evaluation, FileFact, ModelFacts, Signature

AT = datetime(2026, 11, 21, 12, 30, 5, tzinfo=UTC)
SHA = "ab" * 32
FACTS = ModelFacts(
    name="credit",
    version="7",
    digest=SHA,
    description="Predicts repayment",
    owner="risk-team",
    licence="apache-2.0",
    risk_class="high",
    task="tabular-classification",
    architecture="GradientBoosting",
    frameworks=("sklearn",),
    files=(FileFact("model.onnx", SHA, 12), FileFact("a folder/ü.json", "cd" * 32, 0)),
    dependencies=(
        Dependency("numpy", "2.1.0", declared_in="uv.lock", licence="BSD-3-Clause"),
        Dependency("numpy", "2.1.0", declared_in="requirements.txt", licence="BSD-3-Clause"),
        Dependency("torch", "", ">=2", declared_in="requirements.txt"),
        Dependency("inhouse", "1", source="git+https://git.example.test/x", declared_in="uv.lock"),
        Dependency("libblas", "3.9.0", declared_in="conda.yaml", ecosystem="conda"),
    ),
    datasets=(
        Dataset("adult", "3", SHA, "https://data.example.test/a%20b", "personal"),
        Dataset("other", url="s3://b/a b"),
    ),
    base_models=(BaseModel("org/base", "abc", SHA),),
    evaluations=(Evaluation("accuracy", 0.91, slice="test"), Evaluation("f1", 0.5)),
    inputs=("FP32[-1,4]",),
    outputs=("FP32[-1,2]",),
    signature=Signature("ci", "credit.sig", SHA),
    scan_verdict="pass",
)


def as_sets(facts):
    """The order of lists is the bill's, not the facts'."""
    return {
        name: frozenset(msgspec.json.encode(one) for one in value) if isinstance(value, tuple) else value
        for name, value in msgspec.structs.asdict(facts).items()
    }


@pytest.mark.parametrize("version", SPEC_VERSIONS)
def test_a_bill_fits_the_official_schema_and_comes_back(version):
    raw = render_bom(FACTS, AT, spec_version=version, tool_version="0.1.0")
    bom = validate_bom(raw)
    assert bom["specVersion"] == version
    expected = msgspec.structs.replace(
        FACTS,
        licence="Apache-2.0",
    )
    assert as_sets(facts_of_bom(bom)) == as_sets(expected)
    assert render_bom(facts_of_bom(bom), AT, spec_version=version, tool_version="0.1.0") != b""


@pytest.mark.parametrize("version", SPEC_VERSIONS)
def test_a_bill_read_and_written_again_is_the_same_to_the_byte(version):
    once = facts_of_bom(validate_bom(render_bom(FACTS, AT, spec_version=version)))
    raw = render_bom(once, AT, spec_version=version)
    assert render_bom(facts_of_bom(parse_bom(raw)), AT, spec_version=version) == raw


@pytest.mark.parametrize("version", SPEC_VERSIONS)
def test_the_least_that_is_known_is_a_bill(version):
    validate_bom(render_bom(ModelFacts(name="x"), AT, spec_version=version))


def test_cyclonedx_own_library_reads_ours():
    bom = Bom.from_json(json.loads(render_bom(FACTS, AT)))
    assert bom.metadata.component.name == "credit"
    assert {one.name for one in bom.components} >= {"model.onnx", "numpy", "adult", "org/base"}
    assert bom.validate()


def test_the_same_facts_give_the_same_bytes_in_any_order():
    shuffled = msgspec.structs.replace(
        FACTS,
        files=FACTS.files[::-1],
        dependencies=FACTS.dependencies[::-1],
        datasets=FACTS.datasets[::-1],
        evaluations=FACTS.evaluations[::-1],
    )
    assert render_bom(shuffled, AT) == render_bom(FACTS, AT)
    assert render_bom(FACTS, AT + timedelta(seconds=1)) != render_bom(FACTS, AT)


def test_the_serial_number_is_the_contents():
    first, second = (json.loads(render_bom(one, AT)) for one in (FACTS, ModelFacts(name="x")))
    assert first["serialNumber"].startswith("urn:uuid:")
    assert first["serialNumber"] == serial_number(first) != second["serialNumber"]


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(names, names, names, st.lists(names, unique=True, max_size=3), names)
def test_any_names_fit_the_schema_and_come_back(name, licence, package, files, source):
    facts = ModelFacts(
        name=name,
        version=package,
        licence=licence,
        files=tuple(FileFact(one, SHA, 1) for one in files),
        dependencies=(Dependency(package, source), Dependency(package, source=source), Dependency(name, "", source)),
        datasets=(Dataset(name, url=source),),
        signature=Signature(source, name),
    )
    bom = validate_bom(render_bom(facts, AT))
    back = facts_of_bom(bom)
    assert (back.name, set(back.files)) == (name, set(facts.files))
    assert back.signature.signer == source


def test_what_cannot_be_written_is_said():
    with pytest.raises(Invalid, match=r"1\.6 or 1\.7"):
        render_bom(FACTS, AT, spec_version="1.5")
    with pytest.raises(Invalid, match="zone"):
        render_bom(FACTS, datetime(2026, 1, 1))
    with pytest.raises(Invalid, match="once"):
        ModelFacts(name="x", files=(FileFact("a", SHA, 1), FileFact("a", SHA, 2)))


def test_names_that_look_like_versions_are_not_taken_for_them():
    facts = ModelFacts(
        name="x",
        dependencies=(
            Dependency("a", "1@2"),
            Dependency("a@1", "2"),
            Dependency("a@1@2"),
            Dependency("a#b"),
            Dependency("a", source="b"),
        ),
    )
    assert set(facts_of_bom(validate_bom(render_bom(facts, AT))).dependencies) == set(facts.dependencies)


# What somebody changed, or another tool wrote.


def theirs(**changes):
    """A bill of another tool, small and valid."""
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": "2026-01-01T00:00:00Z",
            "component": {"type": "machine-learning-model", "bom-ref": "m", "name": "m"},
        },
        "components": [{"type": "library", "bom-ref": "a", "name": "a"}],
        "dependencies": [{"ref": "m", "dependsOn": ["a"]}],
    }
    return json.dumps(bom | changes).encode()


def test_another_tools_bill_is_read():
    assert facts_of_bom(validate_bom(theirs())).dependencies == (Dependency("a"),)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"dependencies": [{"ref": "m", "dependsOn": ["absent"]}]}, "absent is referred to"),
        ({"dependencies": [{"ref": "absent"}]}, "absent is referred to"),
        ({"dependencies": [{"ref": "m"}, {"ref": "m"}]}, "listed twice"),
        ({"dependencies": [{"ref": 7}]}, "no text"),
        ({"components": [{"type": "library", "bom-ref": "m", "name": "a"}], "dependencies": []}, "m is there twice"),
        ({"components": [{"type": "library", "bom-ref": "", "name": "a"}], "dependencies": []}, "no text"),
        ({"metadata": {"timestamp": "yesterday"}, "dependencies": []}, "time"),
        ({"metadata": []}, "metadata"),
        ({"version": "1"}, "version"),
        ({"bomFormat": "SPDX"}, "no bill"),
        ({"specVersion": "1.4"}, "no bill"),
        ({"specVersion": 1.6}, "no bill"),
    ],
)
def test_a_bill_that_contradicts_itself_is_refused(changes, match):
    with pytest.raises(BomRefused, match=match):
        parse_bom(theirs(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"unknown": 1},
        {"components": [{"type": "library", "bom-ref": "a", "name": "a", "colour": "red"}]},
        {"components": [{"type": "weights", "bom-ref": "a", "name": "a"}]},
        {"components": [{"type": "file", "bom-ref": "a", "name": "a", "hashes": [{"alg": "SHA-256", "content": "x"}]}]},
        {"components": [{"type": "file", "bom-ref": "a", "name": "a", "licenses": [{"license": {"id": "Nobodys"}}]}]},
        {"serialNumber": "7"},
        {"components": [{"type": "library", "bom-ref": "a"}]},
    ],
)
def test_what_does_not_fit_the_schema_is_refused(changes):
    parse_bom(theirs(**changes))
    with pytest.raises(BomRefused, match="does not fit the schema"):
        validate_bom(theirs(**changes))


def test_a_bill_of_ours_that_was_changed_is_refused():
    bom = json.loads(render_bom(FACTS, AT))
    bom["components"][0]["hashes"][0]["content"] = "00" * 32
    with pytest.raises(BomRefused, match="serial number"):
        parse_bom(json.dumps(bom).encode())
    bom["serialNumber"] = serial_number(bom)
    parse_bom(json.dumps(bom).encode())
    bom["dependencies"][0]["dependsOn"].pop()
    bom["serialNumber"] = serial_number(bom)
    with pytest.raises(BomRefused, match="all that is listed"):
        parse_bom(json.dumps(bom).encode())


@given(st.binary(max_size=200))
def test_noise_is_refused_and_never_crashes(noise):
    with pytest.raises(BomRefused):
        validate_bom(noise)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ref", "bom-ref", "type", "name", "component", "tools"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain, st.sampled_from(["metadata", "components", "dependencies", "serialNumber", "version"]))
def test_a_bill_of_any_shape_is_read_or_refused(value, place):
    try:
        facts_of_bom(parse_bom(theirs(**{place: value})))
    except BomRefused:
        return


def test_hostile_documents_are_refused():
    for raw in (b"[" * 100_000, b'{"bomFormat":"CycloneDX","bomFormat":"x"}', b'{"a":1e999}', b"\xff"):
        with pytest.raises(BomRefused, match="cannot be read"):
            parse_bom(raw)


# Folders.


@pytest.fixture
def folder(tmp_path):
    model = tmp_path / "credit"
    model.mkdir()
    (model / "model.safetensors").write_bytes(os.urandom(1000))
    (model / "config.json").write_text(
        '{"architectures": ["BertModel"], "model_type": "bert", "transformers_version": "4.40.0"}'
    )
    (model / "requirements.txt").write_text("torch==2.1.0\nnumpy>=1\n")
    (model / "MLmodel").write_text("flavors:\n  sklearn:\n    sklearn_version: 1.5.0\n")
    (model / "README.md").write_text(
        "---\nlicense: mit\nlibrary_name: transformers\npipeline_tag: fill-mask\n"
        "base_model: org/base\ndatasets: [wiki, books]\n"
        "model-index:\n- name: m\n  results:\n  - task: {type: fill-mask}\n    dataset: {type: wiki, split: test}\n"
        "    metrics: [{type: accuracy, value: 0.5}, {type: f1, value: high}]\n---\n# M\n"
    )
    return model


def test_a_folder_says_what_it_is_made_of(folder):
    facts, declared = facts_of_folder(folder, version="3")
    assert (facts.name, facts.version, facts.licence, facts.task) == ("credit", "3", "mit", "fill-mask")
    assert facts.architecture == "BertModel"
    assert set(facts.frameworks) == {"transformers", "pytorch", "sklearn"}
    assert {one.path for one in facts.files} > {"model.safetensors", "MLmodel", "README.md"}
    assert {(one.name, one.version) for one in facts.dependencies} == {
        ("torch", "2.1.0"),
        ("numpy", ""),
        ("transformers", "4.40.0"),
        ("scikit-learn", "1.5.0"),
    }
    assert [one.name for one in facts.datasets] == ["wiki", "books"]
    assert facts.base_models == (BaseModel("org/base"),)
    assert facts.evaluations == (Evaluation("accuracy", 0.5, "fill-mask", "wiki", "test"),)
    assert declared.cannot_tell == ()
    for version in SPEC_VERSIONS:
        validate_bom(render_bom(facts, AT, spec_version=version))


def test_one_file_is_a_model_too(folder):
    facts, _ = facts_of_folder(folder / "model.safetensors")
    assert [one.size for one in facts.files] == [1000]
    assert facts.dependencies == ()


def test_a_card_that_cannot_be_read_says_nothing(folder):
    (folder / "README.md").write_text("---\na: &a [*a]\n---\n")
    (folder / "config.json").write_text("[" * 10_000)
    facts, declared = facts_of_folder(folder)
    assert (facts.licence, facts.architecture) == ("", "")
    assert [one.about for one in declared.cannot_tell] == ["config.json"]


def test_a_link_in_a_folder_is_refused(folder):
    (folder / "evil").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="link evil"):
        facts_of_folder(folder)
    with pytest.raises(Invalid):
        facts_of_folder(folder / "absent")
