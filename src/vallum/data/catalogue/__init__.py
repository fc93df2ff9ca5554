"""Governed data sets: taken in, judged, classified, encrypted, read through the gate alone, and erasable."""

from vallum.data.catalogue.model import (
    CaseRow,
    DataHeld,
    DataIntake,
    DataSet,
    DataSetDamaged,
    DataSetVersion,
    DataUnavailable,
    DataUse,
    Erasure,
    ExportCount,
    IntakeBusy,
    IntakeTooLarge,
    QuarantineCase,
    VersionColumn,
)
from vallum.data.catalogue.quarantine import CaseDecided
from vallum.data.catalogue.service import DataCatalogue, Rows
from vallum.data.catalogue.treatments import TreatmentPolicy

__all__ = [
    "CaseDecided",
    "CaseRow",
    "DataCatalogue",
    "DataHeld",
    "DataIntake",
    "DataSet",
    "DataSetDamaged",
    "DataSetVersion",
    "DataUnavailable",
    "DataUse",
    "Erasure",
    "ExportCount",
    "IntakeBusy",
    "IntakeTooLarge",
    "QuarantineCase",
    "Rows",
    "TreatmentPolicy",
    "VersionColumn",
]
