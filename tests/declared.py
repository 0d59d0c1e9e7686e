"""The models and exporters that the project declares, read as a run would read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from orchestrator.declaration import Surroundings, read_model
from orchestrator.spec import ModelSpec
from orchestrator.structured import ModelConfig

CONF = Path(__file__).parents[1] / "conf"
FOLDER = CONF / "model"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
EXPORTERS = ("dynamo", "torchscript", "torchscript_script")


def _options(exporter: str) -> dict[str, Any]:
    options = OmegaConf.to_container(OmegaConf.load(CONF / "exporter" / f"{exporter}.yaml"))
    assert isinstance(options, dict)
    return {str(key): value for key, value in options.items() if key != "name"}


OPTIONS = {exporter: _options(exporter) for exporter in EXPORTERS}
"""The defaults of each exporter."""


def declared(name: str) -> ModelSpec:
    file = FOLDER / f"{name}.yaml"
    raw = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(ModelConfig), OmegaConf.load(file)))
    assert isinstance(raw, dict)
    return read_model({str(key): value for key, value in raw.items()}, Surroundings(file=file, trust=(), exporters=EXPORTERS))
