from __future__ import annotations

import pytest

from tests.faults import small_disk
from tests.faults.full_disk import campaign


@pytest.mark.slow
@pytest.mark.skipif(not small_disk.available(), reason="needs user namespaces, to mount a small disk")
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room() -> None:
    row = campaign(times=1)
    assert row.violations == ()
    assert row.measured.startswith("1 disks (the run was refused 1)")
