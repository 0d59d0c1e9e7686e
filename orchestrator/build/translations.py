"""The option custom_translation_table of the exporter dynamo: which of the user's functions translates which operator.

`problems` is for the driver, which imports nothing; `resolve` is for the child. What may be called is decided as for models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.build import trust

OPTION = "custom_translation_table"

OPERATOR = re.compile(r"torch\.ops\.[A-Za-z]\w*\.[A-Za-z]\w*\.[A-Za-z]\w*")
"""torch.ops.<namespace>.<operator>.<overload>; a captured program calls overloads, and a table is looked up by them."""


class TranslationError(Exception):
    """A table names an operator that nothing has registered."""


def problems(options: Mapping[str, Any], patterns: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the table among an exporter's options, one line each; nothing is imported.

    Args:
        options: Of an exporter; one without a table has no problem.
        patterns: The user's own patterns of trusted code, see `trust`.
    """
    for operator, function in options.get(OPTION, {}).items():
        if not OPERATOR.fullmatch(str(operator)):
            yield f"`{operator}` is no overload of an operator, such as torch.ops.aten.relu.default"
        if not isinstance(function, str):
            yield f"{operator}: {function!r} is no dotted path of a function"
        elif problem := trust.static_problem(function, patterns):
            yield f"{operator}: {problem}"


def resolve(options: Mapping[str, Any], patterns: tuple[str, ...]) -> dict[str, Any]:
    """The options with the table as torch.onnx.export takes it: overload → function.

    The functions come first: importing their module may register the operators.

    Args:
        options: Of an exporter.
        patterns: The user's own patterns of trusted code.

    Raises:
        trust.UntrustedError, AttributeError, ImportError: as `trust.resolve`.
        TranslationError: an operator is not registered.
    """
    if not options.get(OPTION):
        return dict(options)
    functions = {operator: trust.resolve(function, patterns) for operator, function in options[OPTION].items()}
    return {**options, OPTION: {_overload(operator): function for operator, function in functions.items()}}


def _overload(path: str) -> Callable[..., Any]:
    import torch

    namespace, operator, overload = path.split(".")[2:]
    try:
        found: Callable[..., Any] = getattr(getattr(getattr(torch.ops, namespace), operator), overload)
    except AttributeError as error:
        raise TranslationError(f"{OPTION}: nothing has registered {path}") from error
    return found
