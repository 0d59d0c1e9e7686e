"""One unit of work that measures artifacts beside eager, as a stream of events: a run does it last, one unit at a time.

Nothing is proved here. Runs in the process that it is called in, as `unit` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.build import module as module_builder
from orchestrator.build.module import Built
from orchestrator.result import CellResult, Event, Speed, Stage, Status
from orchestrator.spec import Cell, UnitTask
from orchestrator.stages import Stages, failure
from orchestrator.store.blobs import BlobStore
from orchestrator.verify import latency, probes, verifier


def run(task: UnitTask, folder: Path) -> Iterator[Event]:
    """Measure the artifacts of the unit's cells on the example that was exported.

    Args:
        task: A unit with an earlier outcome, in `exported`, for each cell that is not done.
        folder: An empty scratch folder.

    Yields:
        A StageStarted before each stage, and a CellFinished for each cell that is not done: passed with its speed, or why it
        could not be measured.
    """
    stages = Stages(task.unit.id, Stage.BUILD)
    cells = [cell for cell in task.unit.cells if cell.id in task.exported and cell.id not in task.done]
    yield stages.start(Stage.BUILD)
    try:
        module_builder.use_threads(task.threads)
        built = module_builder.build(task.unit.model, task.unit.dtype, task.trust, Path(task.store))
    except Exception as error:
        yield from (stages.finish(failure(cell, Stage.BUILD, error, ())) for cell in cells)
        return
    for cell in cells:
        yield stages.start(Stage.VERIFY, cell.id)
        try:
            speed = _speed(task, cell, built, folder / cell.id)
        except Exception as error:
            yield stages.finish(failure(cell, Stage.VERIFY, error, ()))
        else:
            yield stages.finish(CellResult(cell=cell.id, status=Status.PASSED, reason="", speed=speed))


def _speed(task: UnitTask, cell: Cell, built: Built, folder: Path) -> Speed:
    artifact = task.exported[cell.id].artifact
    assert artifact is not None, "only what passed is measured"
    folder.mkdir()
    for file in artifact.files:
        BlobStore(Path(task.store)).get(file.sha256, folder / file.name)
    session = verifier.runtime((folder / artifact.files[0].name).absolute(), cell.target, task.threads)
    specs = built.model.inputs
    sizes = probes.example_sizes(built.model.dims, specs)
    inputs = probes.draw(specs, sizes, task.unit.verify.seed, task.unit.dtype)
    return latency.measure(built.module, session, inputs, cell.target.device, task.threads)
