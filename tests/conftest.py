from __future__ import annotations

import tqdm

# Its monitor is a thread that outlives the test in which torch or timm first showed a progress bar.
tqdm.tqdm.monitor_interval = 0
