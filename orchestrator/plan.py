"""From wished cells to a plan: identifiers, units, and a reason for every cell that will not run. Pure: no file, no clock.

What is in the cache is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain, count, pairwise
from math import ceil

import msgspec

from orchestrator.errors import EnvironmentRefusedError, UserError
from orchestrator.names import LONGEST_IDENTIFIER, is_identifier, printable
from orchestrator.result import SCHEMA_VERSION
from orchestrator.spec import Cell, CellRequest, Plan, RunSpec, Unit

_encode = msgspec.json.Encoder(order="deterministic").encode


BYTES_PER_SECOND = 12e6
"""Of weights, that a unit is done with: resnet50, 102 MB, takes 8 s. Only the order of work depends on it."""


def plan(spec: RunSpec, devices: frozenset[str], estimate: Callable[[Collection[str]], float | None] = lambda _: None) -> Plan:
    """Groups the wished cells into units, in the order in which they were wished for.

    A unit that would take longer than its share of the work is split, if it is known how long all of them take; each part
    captures again.

    Args:
        spec: What the user asked for.
        devices: What the workers have, of cpu and cuda.
        estimate: Seconds that a unit of these cells will take; None if nobody knows.

    Raises:
        UserError: An identifier that cannot be a folder's name, or one identifier for different cells.
        EnvironmentRefusedError: A target is required and no worker can serve it.
    """
    wished = _identified(spec.requests)
    if spec.settings.require_targets:
        _check_targets(wished.values(), devices)
    units = [_estimated(unit, estimate) for unit in _units(wished, devices)]
    return Plan(
        schema_version=SCHEMA_VERSION,
        settings=spec.settings,
        units=tuple(_split(units, spec.settings.cluster.workers, estimate)),
        known_issues=spec.known_issues,
    )


def longest_first(plan: Plan) -> list[Unit]:
    """The units that have work, in the order in which they are best handed out: what takes long must not begin last.

    By their estimates, else by the size of their weights, else as the mean of the others; equal ones in plan order.
    """
    units = [unit for unit in plan.units if _work(unit)]
    weights = [_weight(unit) for unit in units]
    known = [weight for weight in weights if weight is not None]
    mean = sum(known) / len(known) if known else 0.0
    order = sorted(range(len(units)), key=lambda i: -(mean if (weight := weights[i]) is None else weight))
    return [units[i] for i in order]


def share_cores(plan: Plan, cores: int) -> Plan:
    """The plan with the threads that a worker may use, where the user left that open: workers must not fight over cores."""
    cluster = plan.settings.cluster
    if cluster.threads_per_worker:
        return plan
    busy = sum(bool(_work(unit)) for unit in plan.units)
    cluster = replace(cluster, threads_per_worker=max(1, cores // max(1, min(cluster.workers, busy))))
    return replace(plan, settings=replace(plan.settings, cluster=cluster))


def identifier(request: CellRequest) -> str:
    """The readable name of a cell: `resnet50-dynamo-opset20-float32-cpu`, other swept keys after it as `-key=value`."""
    axes = (request.model.name, request.exporter.name, f"opset{request.opset}", request.dtype, request.target.name)
    return "-".join((*axes, *_swept(request)))


def _swept(request: CellRequest) -> Iterator[str]:
    return (printable(f"{key}={value}") for key, value in request.swept)


def _identified(requests: Sequence[CellRequest]) -> Mapping[str, CellRequest]:
    """Requests by identifier; what is wished twice is there once."""
    found: dict[str, tuple[str, CellRequest]] = {}
    problems = []
    for request in requests:
        name = identifier(request)
        if not is_identifier(name):
            problems.append(f"{name}: no identifier; letters, digits and `_.=-`, at most {LONGEST_IDENTIFIER} characters")
        # Folders that differ only in case are one folder on some file systems.
        first_name, first = found.setdefault(name.casefold(), (name, request))
        if first is not request and (first_name != name or _encode(first) != _encode(request)):
            problems.append(f"{name}: two different cells would be called so; {_difference(first, request)}")
    if problems:
        raise UserError(*dict.fromkeys(problems))
    return dict(found.values())


def _difference(first: CellRequest, second: CellRequest) -> str:
    names = [f.name for f in fields(first) if _encode(getattr(first, f.name)) != _encode(getattr(second, f.name))]
    return f"they differ in {', '.join(names)}"


def _check_targets(requests: Iterable[CellRequest], devices: frozenset[str]) -> None:
    lacking = {request.target.name: request.target.device for request in requests if request.target.device not in devices}
    if lacking:
        wanted = ", ".join(f"{target} ({device})" for target, device in lacking.items())
        raise EnvironmentRefusedError(
            f"require_targets: no worker can serve {wanted}; they have {', '.join(sorted(devices))}. "
            "Add a worker that has the device, or set require_targets=false to skip these cells."
        )


def _units(wished: Mapping[str, CellRequest], devices: frozenset[str]) -> Iterator[Unit]:
    groups: dict[bytes, list[tuple[str, CellRequest]]] = {}
    for name, request in wished.items():
        groups.setdefault(_shared(request), []).append((name, request))
    taken: set[str] = set()
    for group in groups.values():
        yield _unit(group, taken, devices)


def _work(unit: Unit) -> list[str]:
    return [cell.id for cell in unit.cells if cell.skip is None]


def _estimated(unit: Unit, estimate: Callable[[Collection[str]], float | None]) -> Unit:
    return replace(unit, estimate=estimate(_work(unit)))


def _weight(unit: Unit) -> float | None:
    if unit.estimate is not None or unit.model.size is None:
        return unit.estimate
    return unit.model.size / BYTES_PER_SECOND * len(_work(unit))


def _split(units: Sequence[Unit], workers: int, estimate: Callable[[Collection[str]], float | None]) -> Iterator[Unit]:
    known = [unit.estimate for unit in units if unit.estimate is not None]
    if len(known) < sum(bool(_work(unit)) for unit in units):
        yield from units
        return
    share, taken = sum(known) / workers, {unit.id for unit in units}
    for unit in units:
        parts = min(len(unit.cells), max(1, ceil((unit.estimate or 0) / share))) if share else 1
        bounds = [len(unit.cells) * i // parts for i in range(parts + 1)]
        for low, high in pairwise(bounds):
            name = unit.id if low == 0 else _free(unit.id, taken)
            yield _estimated(replace(unit, id=name, cells=unit.cells[low:high]), estimate)


def _free(name: str, taken: set[str]) -> str:
    """A name for another unit that would be called so."""
    free = next(one for one in chain((name,), (f"{name}-{n}" for n in count(2))) if one not in taken)
    taken.add(free)
    return free


def _shared(request: CellRequest) -> bytes:
    """What the cells of a unit have in common, as a key."""
    return _encode((request.model, request.exporter, request.dtype, request.verify, request.limits, request.swept))


def _unit(group: Sequence[tuple[str, CellRequest]], taken: set[str], devices: frozenset[str]) -> Unit:
    request = group[0][1]
    name = "-".join((request.model.name, request.exporter.name, request.dtype, *_swept(request)))
    return Unit(
        id=_free(name, taken),
        model=request.model,
        exporter=request.exporter,
        dtype=request.dtype,
        verify=request.verify,
        limits=request.limits,
        cells=tuple(_cell(name, request, devices) for name, request in group),
    )


def _cell(name: str, request: CellRequest, devices: frozenset[str]) -> Cell:
    device = request.target.device
    skip = None if device in devices else f"no worker has a {device} device"
    return Cell(id=name, opset=request.opset, target=request.target, swept=request.swept, skip=skip)
