"""What says where a version comes from is read by the programs of the formats' own makers."""

import json

import pytest
from governed_data import contract, visits

PRODUCER = ("_producer", "_schemaURL")


def path_of(version):
    return {"name": version.dataset, "number": str(version.number)}


@pytest.fixture
def version(taken_in):
    agreed = contract().replace(
        b"iban, logicalType: string",
        b"iban, logicalType: string, customProperties: [{property: treatment, value: hash}]",
    )
    return taken_in(visits(20), agreed)


@pytest.fixture
def read(perform, mel):
    def _read(route, version):
        return b"".join(perform(route, mel, path_of(version)).chunks)

    return _read


def built(kind, facet):
    """The maker's own class, which knows its fields and checks addresses and ids; unknown ones are no arguments."""
    made = kind(**{name: value for name, value in facet.items() if name not in PRODUCER})
    assert facet["_schemaURL"].rpartition("/")[2] == made._get_schema().rpartition("/")[2]
    return made


def test_openlineages_own_client_takes_the_event(version, read):
    client = pytest.importorskip("openlineage.client")
    v2, facets = client.event_v2, client.facet_v2
    event = json.loads(read("read_data_lineage_event", version))
    ((source,), (made,)) = event["inputs"], event["outputs"]
    built(facets.dataset_version_dataset.DatasetVersionDatasetFacet, source["facets"]["version"])
    lineage = dict(made["facets"]["columnLineage"])
    module = facets.column_lineage_dataset
    lineage["fields"] = {
        name: module.Fields(
            [
                module.InputField(
                    **{**one, "transformations": [module.Transformation(**t) for t in one["transformations"]]}
                )
                for one in field["inputFields"]
            ]
        )
        for name, field in lineage["fields"].items()
    }
    kinds = {
        "schema": facets.schema_dataset.SchemaDatasetFacet,
        "version": facets.dataset_version_dataset.DatasetVersionDatasetFacet,
        "columnLineage": module.ColumnLineageDatasetFacet,
    }
    told = made["facets"] | {"columnLineage": lineage}
    (statistics,) = made["outputFacets"].values()
    of_output = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    output = v2.OutputDataset(
        made["namespace"], made["name"], facets={name: built(kinds[name], facet) for name, facet in told.items()},
        outputFacets={"outputStatistics": built(of_output, statistics)},
    )  # fmt: skip
    taken = v2.RunEvent(
        eventTime=event["eventTime"], producer=event["producer"], run=v2.Run(**event["run"]),
        job=v2.Job(**event["job"]), eventType=v2.RunState(event["eventType"]),
        inputs=[v2.InputDataset(source["namespace"], source["name"])], outputs=[output],
    )  # fmt: skip
    assert taken.schemaURL == event["schemaURL"]
    assert set(event) == {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"}
    how = lineage["fields"]["iban"].inputFields[0].transformations[0]
    assert (how.description, how.masking) == ("hash", True)


@pytest.mark.filterwarnings("ignore")
def test_croissants_own_validator_finds_nothing(version, read, tmp_path, caplog):
    croissant = pytest.importorskip("mlcroissant")
    file = tmp_path / "card.json"
    file.write_bytes(read("read_data_card", version))
    found = croissant.Dataset(jsonld=str(file)).metadata
    issues = found.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    assert [field.name for field in found.record_sets[0].fields] == [c.name for c in version.columns]
    assert "hash" in json.loads(file.read_text())["rai:dataPreprocessingProtocol"][0]
