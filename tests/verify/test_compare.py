from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from orchestrator.verify.compare import FLOOR_ULPS, Tolerance, compare, relative_error

EXACT = np.random.default_rng(0).normal(size=(3, 5))
EAGER = (EXACT * (1 + 2e-7)).astype(np.float32)
EPS = float(np.finfo(np.float32).eps)


def test_an_artifact_as_close_as_eager_passes_and_tells_the_ratio() -> None:
    found = compare(EAGER, EAGER, EXACT, k=8.0)
    assert found.problem is None
    assert found.ratio == 1.0
    assert found.bound == pytest.approx(8 * found.error + FLOOR_ULPS * EPS)
    assert found.rule == "triangulated"


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (1 + 1e-6, True), (1 + 1e-5, False), (1.01, False), (0.0, False)])
def test_the_bound_is_a_multiple_of_eagers_own_error(factor: float, passes: bool) -> None:
    found = compare((EXACT * factor).astype(np.float32), EAGER, EXACT, k=8.0)
    assert (found.problem is None) is passes
    assert (found.share <= 1) is passes


def test_a_failure_names_the_worst_element_and_its_values() -> None:
    wrong = EAGER.copy()
    wrong[2, 1] += 1
    problem = compare(wrong, EAGER, EXACT, k=8.0).problem
    assert problem is not None
    assert "worst at [2, 1]" in problem
    assert f"{wrong[2, 1]:.6g} instead of {EXACT[2, 1]:.6g}" in problem


def test_an_eager_that_is_exact_by_luck_still_leaves_the_floor() -> None:
    exact = EAGER.astype(np.float64)
    assert compare(EAGER, EAGER, exact, k=8.0).ratio is None
    off = (EAGER * np.float32(1 + EPS)).astype(np.float32)
    assert compare(off, EAGER, exact, k=8.0).problem is None
    assert compare((EAGER * np.float32(1 + 64 * EPS)).astype(np.float32), EAGER, exact, k=8.0).problem is not None


@pytest.mark.parametrize(
    ("actual", "word"),
    [
        (EAGER[:, :1], "shape [3, 1] instead of [3, 5]"),
        (EAGER[:1], "shape [1, 5] instead of [3, 5]"),
        (EAGER.ravel(), "shape [15] instead of [3, 5]"),
        (EAGER.astype(np.float64), "dtype float64 instead of float32"),
        (EAGER.astype(np.float16), "dtype float16 instead of float32"),
    ],
)
def test_nothing_is_broadcast_or_cast(actual: np.ndarray, word: str) -> None:
    found = compare(actual, EAGER, EXACT, k=8.0)
    assert found.problem == word
    assert found.share == math.inf


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_must_be_where_eager_has_them(value: float) -> None:
    eager, exact = EAGER.copy(), EXACT.copy()
    eager[1, 1] = exact[1, 1] = value
    assert compare(eager.copy(), eager, exact, k=8.0).problem is None
    assert "[1, 1]" in str(compare(EAGER, eager, exact, k=8.0).problem)
    assert "[1, 1]" in str(compare(eager, EAGER, EXACT, k=8.0).problem)


def test_the_sign_of_an_infinity_counts() -> None:
    eager = np.array([np.inf, 1], np.float32)
    assert compare(-eager, eager, eager.astype(np.float64), k=8.0).problem is not None


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.bool_, np.uint8])
def test_integers_and_booleans_are_exact(dtype: type) -> None:
    eager = np.array([[0, 1], [1, 0]], dtype)
    wrong = eager.copy()
    wrong[0, 1] = 0
    assert compare(eager.copy(), eager, None, k=8.0).problem is None
    assert "1 of 4 elements differ, first at [0, 1]" in str(compare(wrong, eager, None, k=8.0).problem)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_without_a_float64_answer_the_tolerances_of_assert_close_hold(dtype: type) -> None:
    eager = EXACT.astype(dtype)
    found = compare(eager.copy(), eager, None, k=8.0)
    assert (found.problem, found.rule) == (None, "assert_close")
    assert "the tolerance" in str(compare((EXACT * 1.1).astype(dtype), eager, None, k=8.0).problem)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_triangulated_in_its_own_ulps(dtype: type) -> None:
    eager = EXACT.astype(dtype)
    assert compare(eager.copy(), eager, EXACT, k=8.0).problem is None
    assert compare((EXACT * 2).astype(dtype), eager, EXACT, k=8.0).problem is not None


def test_a_float64_answer_of_a_float32_model_is_judged_as_float32() -> None:
    eager = EAGER.astype(np.float64)
    assert compare(eager * (1 + 1e-6), eager, EXACT, k=8.0).problem is None
    assert compare(eager * (1 + 1e-5), eager, EXACT, k=8.0).problem is not None


def test_a_users_tolerance_replaces_the_bound() -> None:
    wrong = (EXACT + 0.01).astype(np.float32)
    assert compare(wrong, EAGER, EXACT, k=8.0).problem is not None
    found = compare(wrong, EAGER, EXACT, k=8.0, tolerance=Tolerance(rtol=0.0, atol=0.02))
    assert (found.problem, found.rule, found.bound) == (None, "declared", 1.0)
    assert found.error == pytest.approx(0.5, rel=1e-2)
    failed = compare(wrong, EAGER, EXACT, k=8.0, tolerance=Tolerance(rtol=0.0, atol=0.005))
    assert "atol 1.00e-02 would pass" in str(failed.problem)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_scalars_and_empty_arrays_compare(shape: tuple[int, ...]) -> None:
    zeros = np.zeros(shape, np.float32)
    for exact in (zeros.astype(np.float64), None):
        assert compare(zeros, zeros, exact, k=8.0).problem is None
    assert compare(zeros.astype(np.int64), zeros.astype(np.int64), None, k=8.0).problem is None


def test_where_the_answer_is_zero_only_zero_is_right() -> None:
    zeros = np.zeros(3, np.float32)
    assert compare(np.full(3, 1e-30, np.float32), zeros, zeros.astype(np.float64), k=8.0).problem is not None


def test_the_error_is_free_of_scale() -> None:
    assert relative_error(EAGER * 1e6, EXACT * 1e6) == pytest.approx(relative_error(EAGER, EXACT), rel=0.5)


def test_where_eager_overflows_the_others_are_still_judged() -> None:
    eager, exact = np.array([np.inf, 1, 2, 3], np.float16), np.array([1e5, 1, 2, 3])
    assert compare(eager.copy(), eager, exact, k=8.0).problem is None
    assert compare(np.array([np.inf, -50, 70, 0], np.float16), eager, exact, k=8.0).problem is not None


def test_an_eager_that_is_wrong_itself_proves_nothing() -> None:
    problem = compare(np.zeros(3, np.float32), -np.ones(3, np.float32), np.ones(3), k=8.0).problem
    assert "cannot tell right from wrong" in str(problem)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_where_float64_has_no_finite_answer_eagers_own_counts(value: float) -> None:
    eager, exact = np.array([2, 1], np.float32), np.array([value, 1.0])
    assert compare(eager.copy(), eager, exact, k=8.0).problem is None
    assert "worst at [0]: 5 instead of 2" in str(compare(np.array([5, 1], np.float32), eager, exact, k=8.0).problem)


def test_a_tolerance_that_allows_nothing_is_compared_without_a_warning() -> None:
    zeros = np.zeros(2, np.float32)
    found = compare(zeros + 1000, zeros, None, k=8.0, tolerance=Tolerance(rtol=0.1, atol=0.0))
    assert "atol 1.00e+03 would pass" in str(found.problem)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_eager_itself_always_passes_and_one_wrong_element_never(dtype: type, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 6, size=random.integers(0, 4)))
    exact = np.asarray(random.normal(size=shape) * 10.0 ** random.integers(-3, 4))
    eager = exact.astype(dtype)
    assert compare(eager.copy(), eager, exact, k=8.0).problem is None
    place = tuple(int(random.integers(size)) for size in shape)
    wrong = eager.copy()
    wrong[place] = eager[place] + dtype(np.abs(exact).max())
    assert f"worst at [{', '.join(map(str, place))}]" in str(compare(wrong, eager, exact, k=8.0).problem)


def test_what_rounding_leaves_of_zero_is_measured_by_the_scale_of_the_output() -> None:
    """A weighted mean minus the one row that it is of: 0 but for rounding, which each of the three does in its own way."""
    exact, eager = np.full((1, 5), 3e-17), np.full((1, 5), 6e-8, np.float32)
    actual = np.zeros((1, 5), np.float32)
    assert "cannot tell right from wrong" in str(compare(actual, eager, exact, k=8.0).problem)
    assert compare(actual, eager, exact, k=8.0, scale=1.0).problem is None
    assert compare(actual, actual, np.zeros((1, 5)), k=8.0, scale=1.0).problem is None
    assert compare(eager, actual, np.zeros((1, 5)), k=8.0, scale=1.0).problem is None
    wrong = compare(np.full((1, 5), 1e-4, np.float32), eager, exact, k=8.0, scale=1.0)
    assert "error 1.00e-04 is above" in str(wrong.problem)


def test_an_answer_that_is_small_and_no_rounding_keeps_its_own_scale() -> None:
    small = (EXACT * 1e-4).astype(np.float32)
    found = compare((small * np.float32(1 + 64 * EPS)).astype(np.float32), small, EXACT * 1e-4, k=1.0, scale=1.0)
    assert found.problem is not None
