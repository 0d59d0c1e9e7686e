"""Whether an artifact's answer is the model's: an error that is free of scale, against a bound that is measured, not guessed.

The bound is triangulated: with r the model's answer in float64, the artifact may be k times as far from r as the eager module
in the same dtype is, plus 8 ulp. Where there is no float64 answer the tolerances of `torch.testing.assert_close` hold.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import ml_dtypes
import numpy as np

FLOOR_ULPS = 8
"""Units in the last place that any artifact may be off: eager's own error can be 0 by luck."""
USELESS = 1.0
"""A bound from which on even an answer of zeros would pass."""
CLOSE = {"float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}
"""rtol, atol of torch.testing.assert_close (torch 2.15), by dtype."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """What a user allows for an output, as in numpy.allclose."""

    rtol: float
    atol: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One output on one probe."""

    problem: str | None
    """What is wrong, for a person; None if nothing is."""
    error: float = 0.0
    bound: float = 0.0
    """The largest error that passes."""
    ratio: float | None = None
    """The artifact's error over eager's, both against float64; None where that was not measured."""
    rule: str = "exact"
    """exact, triangulated, assert_close or declared."""

    @property
    def share(self) -> float:
        """How much of the bound is used up; above 1 it fails."""
        if self.problem is not None:
            return float("inf")
        return self.error / self.bound if self.bound else 0.0


def compare(
    actual: np.ndarray,
    eager: np.ndarray,
    exact: np.ndarray | None,
    *,
    k: float,
    tolerance: Tolerance | None = None,
    scale: float = 0.0,
) -> Comparison:
    """Compare an artifact's answer with the model's.

    Args:
        actual: What the artifact answered.
        eager: What the eager module answered, in the dtype of the cell.
        exact: What it answered in float64; None if it could not.
        k: How many times eager's error the artifact's may be.
        tolerance: The user's own, replaces the triangulated bound.
        scale: Root mean square of the same output on other inputs. An answer below the floor of that is what rounding leaves of
            zero (`x - x.mean(0)` of a single row): its error is measured by the scale, as it has none of its own.
    """
    if problem := _mismatch(actual, eager):
        return Comparison(problem=problem)
    if not is_floating(eager.dtype):
        return _exact(actual, eager)
    if problem := kinds_differ(actual, eager):
        return Comparison(problem=problem)
    if tolerance is not None:
        return _close(actual, eager, tolerance, "declared")
    if exact is None:
        rtol, atol = CLOSE[eager.dtype.name]
        return _close(actual, eager, Tolerance(rtol=rtol, atol=atol), "assert_close")
    return _triangulated(actual, eager, exact, k, scale)


def relative_error(values: np.ndarray, exact: np.ndarray, unit: float = 0.0) -> float:
    """The largest |values - exact| / rms(exact), or over `unit` if it is given, where exact is finite, in float64.

    Where exact is all zero the divisor is the smallest normal number of float64: only zero is right.
    """
    difference = _difference(values, exact)[np.isfinite(exact)]
    return float(difference.max(initial=0.0)) / max(unit or rms(exact), float(np.finfo(np.float64).tiny))


def rms(values: np.ndarray) -> float:
    """Root mean square of what is finite, in float64; 0 for nothing."""
    wide = _wide(values)
    finite = wide[np.isfinite(wide)]
    return float(np.sqrt(np.mean(np.square(finite)))) if finite.size else 0.0


def floor(dtype: np.dtype) -> float:
    """The error that any artifact may have; a float64 answer that has an exact one beside it comes of a model in float32."""
    computed = np.dtype(np.float32) if dtype == np.float64 else dtype
    return FLOOR_ULPS * float(ml_dtypes.finfo(computed).eps)  # type: ignore[no-untyped-call]


def kinds_differ(actual: np.ndarray, eager: np.ndarray) -> str | None:
    """NaN, Inf and -Inf must be where eager has them."""
    for kind, test in (("NaN", np.isnan), ("Inf", np.isposinf), ("-Inf", np.isneginf)):
        different = test(_wide(actual)) != test(_wide(eager))
        if different.any():
            place = _worst(different)
            return f"{kind} differs at {_place(place)}: {actual[place]:.6g} instead of {eager[place]:.6g}"
    return None


def is_floating(dtype: np.dtype) -> bool:
    """bfloat16 included, which numpy does not count."""
    return bool(np.issubdtype(dtype, np.floating)) or dtype.name == "bfloat16"


def digest(values: np.ndarray) -> str:
    """Of the bytes in C order, whatever the shape; empty for no elements and for objects."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return hashlib.sha256(flat.view(np.uint8).data).hexdigest() if flat.size and flat.dtype != object else ""


def _triangulated(actual: np.ndarray, eager: np.ndarray, exact: np.ndarray, k: float, scale: float) -> Comparison:
    # Where float64 has no answer eager's own stands in for it.
    exact = np.where(np.isfinite(exact), exact, _wide(eager))
    # Where eager itself overflows, only that the artifact does too can be asked, which `kinds_differ` did.
    exact = np.where(np.isfinite(_wide(eager)), exact, np.nan)
    unit = scale if rms(exact) < floor(eager.dtype) * scale else 0.0
    ours, theirs = relative_error(actual, exact, unit), relative_error(eager, exact, unit)
    bound = k * theirs + floor(eager.dtype)
    problem = None
    if bound >= USELESS:
        problem = f"eager itself is off by {theirs:.2e} in {eager.dtype.name}: this reference cannot tell right from wrong"
    elif not ours <= bound:
        worst = _worst(_difference(actual, exact))
        values = f"{actual[worst]:.6g} instead of {exact[worst]:.6g}"
        problem = f"error {ours:.2e} is above {bound:.2e}; worst at {_place(worst)}: {values}"
    return Comparison(problem=problem, error=ours, bound=bound, ratio=ours / theirs if theirs else None, rule="triangulated")


def _close(actual: np.ndarray, eager: np.ndarray, tolerance: Tolerance, rule: str) -> Comparison:
    """The error in units of what is allowed at each element, so that the bound is 1."""
    allowed = tolerance.atol + tolerance.rtol * np.abs(np.where(np.isfinite(eager), eager, 0).astype(np.float64))
    with np.errstate(over="ignore"):
        excess = _difference(actual, eager) / np.maximum(allowed, np.finfo(np.float64).tiny)
    error = float(excess.max(initial=0.0))
    problem = None
    if not error <= 1:
        worst = _worst(excess)
        smallest = float(_difference(actual, eager).max())
        problem = (
            f"off by {error:.3g} x the tolerance (rtol {tolerance.rtol:g}, atol {tolerance.atol:g}) at {_place(worst)}: "
            f"{actual[worst]:.6g} instead of {eager[worst]:.6g}; atol {smallest:.2e} would pass"
        )
    return Comparison(problem=problem, error=error, bound=1.0, rule=rule)


def _exact(actual: np.ndarray, eager: np.ndarray) -> Comparison:
    different = actual != eager
    if not different.any():
        return Comparison(problem=None)
    first = _worst(different)
    count = int(different.sum())
    return Comparison(
        problem=f"{count} of {eager.size} elements differ, first at {_place(first)}: {actual[first]} instead of {eager[first]}"
    )


def _mismatch(actual: np.ndarray, eager: np.ndarray) -> str | None:
    if actual.dtype != eager.dtype:
        return f"dtype {actual.dtype.name} instead of {eager.dtype.name}"
    if actual.shape != eager.shape:
        return f"shape {list(actual.shape)} instead of {list(eager.shape)}"
    return None


def _difference(values: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Absolute difference in float64; 0 where exact is not finite, which `kinds_differ` has compared."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(_wide(values) - _wide(exact))
    return np.asarray(np.where(np.isfinite(_wide(exact)), difference, 0.0))


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)


def _worst(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(values.argmax()), values.shape))


def _place(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]"
