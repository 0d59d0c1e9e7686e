"""Draws what `sharing.py` printed: `python -m benchmarks.picture FIGURES.json PICTURE.svg`.

Needs matplotlib, which nothing else here does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0")
"""Observable's categorical palette, told apart by those who do not see all colours."""


def main() -> None:
    """One bar for each way, stacked by stage."""
    figures, picture = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    stages: dict[str, dict[str, float]] = figures["stages"]
    # The same picture for the same figures.
    mpl.rcParams.update({"svg.hashsalt": "", "font.family": "DejaVu Sans", "font.size": 10})
    drawing, axes = pyplot.subplots(figsize=(9, 2.8), layout="constrained")
    for place, (way, seconds) in enumerate(stages.items()):
        left = 0.0
        for colour, (stage, value) in zip(COLOURS, seconds.items(), strict=True):
            axes.barh(place, value, left=left, color=colour, label=stage if place == 0 else None)
            left += value
        axes.text(left, place, f"  {figures['seconds'][way]:.0f} s", va="center")
    axes.set_yticks(range(len(stages)), list(stages))
    axes.invert_yaxis()
    axes.set_xlabel("seconds from the shell prompt to the report")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=4, frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    drawing.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
