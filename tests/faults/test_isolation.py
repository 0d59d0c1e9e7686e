from __future__ import annotations

import pytest

from tests.faults import small_disk
from tests.faults.isolation import campaign

pytestmark = pytest.mark.e2e


def test_misbehaving_models_each_end_as_they_deserve_and_leave_the_good_ones_and_the_machine_alone() -> None:
    row = campaign()
    assert row.violations == ()
    assert row.measured.startswith(f"{17 + small_disk.available()} kinds ")
