"""What a fleet's YAML file declares: which models, a matrix of axes, and what differs for some models.

Plain values in, a `Fleet` out. What it says about cells is kept as overrides, written as on the command line,
which wins over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from orchestrator.declaration import read_known_issues
from orchestrator.errors import UserError
from orchestrator.names import suggestion
from orchestrator.spec import KnownIssue

MATRIX_AXES = ("exporter", "opset", "dtype", "target")
"""What a matrix may span; the models are listed beside it."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A declared batch."""

    name: str
    file: Path
    models: tuple[str, ...]
    """Options of the group model, globs expanded, in the declared order."""
    matrix: tuple[str, ...]
    """An override per axis, as `opset=18,20,23`."""
    overrides: Mapping[str, tuple[str, ...]]
    """Pattern on models → overrides for them; of two for one key the later one holds."""
    exclude: tuple[str, ...]
    """Patterns on cell identifiers."""
    known_issues: tuple[KnownIssue, ...]
    deliver: str | None = None
    """What of its artifacts goes into the run folder, unless the command line says otherwise."""

    def of(self, model: str) -> tuple[str, ...]:
        """All overrides for a model, in the order in which later ones replace earlier ones."""
        special = (text for pattern, texts in self.overrides.items() if fnmatchcase(model, pattern) for text in texts)
        return (*self.matrix, *special)


def read_fleet(name: str, raw: Mapping[str, Any], file: Path, models: Sequence[str]) -> Fleet:
    """Reads a declaration.

    Args:
        name: Option of the group fleet.
        raw: Its keys as plain values, defaults of the schema included, interpolations resolved.
        file: The YAML file, for messages.
        models: Options of the group model.

    Raises:
        UserError: One line for each mistake, with the file, the key, the value and what is allowed.
    """
    problems: list[str] = []

    def wrong(key: str, text: str) -> None:
        problems.append(f"{file}: {key}: {text}")

    fleet = Fleet(
        name=name,
        file=file,
        models=tuple(dict.fromkeys(_models(raw["models"], models, wrong))),
        matrix=tuple(_matrix(raw["matrix"], wrong)),
        overrides={pattern: tuple(texts) for pattern, texts in raw["overrides"].items()},
        exclude=tuple(raw["exclude"]),
        known_issues=tuple(read_known_issues(raw["known_issues"], wrong)),
        deliver=raw["deliver"],
    )
    for pattern in fleet.overrides:
        if not any(fnmatchcase(model, pattern) for model in fleet.models):
            wrong("overrides", f"'{pattern}' is none of its models{suggestion(pattern, fleet.models)}")
    if problems:
        raise UserError(*dict.fromkeys(problems))
    return fleet


def _models(wanted: Sequence[str], known: Sequence[str], wrong: Any) -> Iterator[str]:
    if not wanted:
        wrong("models", "is empty; list names of models, or patterns such as bert_*")
    for pattern in wanted:
        found = [model for model in known if fnmatchcase(model, pattern)]
        if not found:
            what = "matches none" if {*"*?["} & {*pattern} else f"there is no model '{pattern}'"
            wrong("models", f"{pattern}: {what}{suggestion(pattern, known)}")
        yield from found


def _matrix(raw: Mapping[str, Any] | None, wrong: Any) -> Iterator[str]:
    if raw is not None and not raw:
        wrong("matrix", f"is empty; name axes, of {', '.join(MATRIX_AXES)}, or leave it out for the defaults")
    for axis, values in (raw or {}).items():
        listed = values if isinstance(values, list) else [values]
        if axis not in MATRIX_AXES:
            wrong(f"matrix.{axis}", f"is no axis; they are {', '.join(MATRIX_AXES)}; other keys go into overrides")
        elif not listed or values is None:
            wrong(f"matrix.{axis}", "is empty")
        else:
            yield f"{axis}={','.join(map(str, listed))}"
