"""Draws what telling people apart costs against deepfakes: a dot for each evaluation, SV-EER across, SPF-EER up.

python benchmarks/tradeoff.py docs/img/tradeoff.svg name=evaluation/folder other=evaluation/folder
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bonaface.charts.svg import Axis, Chart
from bonaface.io import atomic_write

STYLE = (
    "text{font:11px sans-serif;fill:#333}.frame,.grid{fill:none;stroke:#bbb;stroke-width:.6}.grid{stroke:#e4e4e4}"
    ".dot{fill:#1f6feb}.line{fill:none;stroke:#1f6feb;stroke-width:1.2}.note{font-size:10px;paint-order:stroke;stroke:#fff;stroke-width:3px}"
)
NICE = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def axis(label: str, highest: float) -> Axis:
    """From 0 to the next round number above ``highest``, in five steps."""
    high = next(value for value in NICE if value >= highest)
    return Axis(label, 0.0, high, [(high * step / 5, f"{100 * high * step / 5:g} %") for step in range(6)])


def main() -> None:
    """Reads each evaluation's metrics.json and writes the drawing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("evaluations", nargs="+", metavar="NAME=FOLDER")
    options = parser.parse_args()
    points = []
    for word in options.evaluations:
        name, _, folder = word.partition("=")
        figures = json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))
        points.append((name, figures["sv_eer"], figures["spf_eer"], figures["intervals"]))
    across = axis("EER against other people (SV)", max(bound["sv_eer"]["high"] for *_, bound in points))
    up = axis("EER against own deepfakes (SPF)", max(bound["spf_eer"]["high"] for *_, bound in points))
    chart = Chart("SV-EER against SPF-EER of several models, with 95 % intervals", across, up, 640, 420)
    for name, sv, spf, bound in points:
        chart.line([bound["sv_eer"]["low"], bound["sv_eer"]["high"]], [spf, spf], 0)
        chart.line([sv, sv], [bound["spf_eer"]["low"], bound["spf_eer"]["high"]], 0)
        chart.dots([sv], [spf], 0)
        chart.text(sv + across.high / 100, spf + up.high / 80, name)
    drawing = chart.svg().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    with atomic_write(options.out) as temporary:
        temporary.write_text(drawing.replace(">", f"><style>{STYLE}</style>", 1), encoding="utf-8")


if __name__ == "__main__":
    main()
