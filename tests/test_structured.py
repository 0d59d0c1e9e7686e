from __future__ import annotations

import dataclasses
import inspect

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from orchestrator import structured

KINDS = [kind for kind in vars(structured).values() if inspect.isclass(kind) and dataclasses.is_dataclass(kind)]


def test_hydra_finds_the_schema_under_the_name_that_the_primary_config_begins_with() -> None:
    structured.register()
    node = ConfigStore.instance().load(f"{structured.SCHEMA}.yaml").node
    assert OmegaConf.get_type(node) is structured.Config


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_default_so_that_all_that_is_missing_is_told_together(kind: type) -> None:
    kind()
    assert not OmegaConf.is_missing(OmegaConf.structured(kind), next(iter(OmegaConf.structured(kind))))
