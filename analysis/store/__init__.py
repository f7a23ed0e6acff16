"""Result files: HDF5 with named dimensions and provenance, written whole, read without torch."""

from analysis.store.cells import Cells, open_cells
from analysis.store.provenance import place_free, provenance, sha256_file
from analysis.store.reader import list_measurements, measurement_types, read, read_attributes
from analysis.store.schema import KINDS, REQUIRED_ATTRIBUTES, SCHEMA_VERSION, Measurement, SchemaError, Variable
from analysis.store.writer import create, write

__all__ = [
    "KINDS",
    "REQUIRED_ATTRIBUTES",
    "SCHEMA_VERSION",
    "Cells",
    "Measurement",
    "SchemaError",
    "Variable",
    "create",
    "list_measurements",
    "measurement_types",
    "open_cells",
    "place_free",
    "provenance",
    "read",
    "read_attributes",
    "sha256_file",
    "write",
]
