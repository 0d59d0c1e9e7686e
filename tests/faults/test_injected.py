from __future__ import annotations

import pytest

from tests.faults.injected import OPERATIONS, Operation, cases, tried

EVERY = 23
"""The campaign tries all; this one has no divisor in common with the number of faults, so that all of them are met."""


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_after_a_fault_what_is_readable_is_right_and_it_can_be_done_again(operation: Operation) -> None:
    sample = cases((operation,))
    sample = sample[:: max(1, len(sample) // EVERY)]
    assert len({case.fault for case in sample}) >= 3
    assert [violation for case in sample for violation in tried(case)] == []
