from dataclasses import replace
from pathlib import Path

import pytest

from headgate.profiles.errors import FamilyError
from headgate.profiles.family import open_family
from headgate.profiles.manifest import InputSpec
from headgate.runtime.networks.device_engine import DeviceEngine
from headgate.runtime.networks.edge_engine import EdgeEngine
from runtime.tiny_family import (
    SIDE_PX,
    write_tiny_family,
)


def test_a_graph_with_other_inputs_is_a_family_error(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    members = tuple(
        replace(each, head=family.manifest.full_graph) for each in family.manifest.members
    )
    manifest = replace(family.manifest, members=members)
    with pytest.raises(FamilyError, match=r"takes \['picture'\].*expected"):
        DeviceEngine(replace(family, manifest=manifest))


def test_graphs_that_do_not_fit_the_manifest_are_a_family_error(tmp_path: Path) -> None:
    family = write_tiny_family(tmp_path / "family")
    larger = replace(family.manifest, input=InputSpec(height_px=8, width_px=SIDE_PX))
    family = replace(family, manifest=larger)
    for engine in (DeviceEngine, EdgeEngine):
        with pytest.raises(FamilyError, match=r"family: graph failed: .*export the family again"):
            engine(family)


@pytest.mark.parametrize("engine", [DeviceEngine, EdgeEngine])
def test_graphs_that_are_replaced_between_their_check_and_their_loading_are_refused(
    engine: type[DeviceEngine] | type[EdgeEngine], tmp_path: Path
) -> None:
    write_tiny_family(tmp_path / "family")
    family = open_family(tmp_path / "family")
    path = family.file(family.manifest.full_graph)
    path.write_bytes(path.read_bytes() + b"\x32\x01x")  # a doc_string: it loads as well as before
    with pytest.raises(FamilyError, match="was changed while it was loaded"):
        engine(family)
