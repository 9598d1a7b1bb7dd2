"""Draws docs/img/error-rates/*.svg: one drawing for each error rate of docs/error-rates.md.

python docs/_site/drawings.py

The curves are normal densities, chosen to be seen: no figure in them was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np

IMAGES = Path(__file__).parents[1] / "img" / "error-rates"

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _BASE, _TOP = 30, 610, 205, 40
_STYLE = (
    "<style>.card{fill:#fff;stroke:#d0d7de}text{font:13px system-ui,sans-serif;fill:#24292f}.small{font-size:11.5px}"
    ".b{font-weight:600}.axis{stroke:#57606a;stroke-width:1;fill:none}.grid{stroke:#d0d7de;stroke-width:.7}"
    ".cut{stroke:#24292f;stroke-width:1.4;stroke-dasharray:5 3}.same{stroke:#1a7f37;fill:#1a7f37}"
    ".impostor{stroke:#0969da;fill:#0969da}.own{stroke:#bc4c00;fill:#bc4c00}.other{stroke:#8250df;fill:#8250df}"
    ".line{fill:none;stroke-width:2}.area{stroke:none;fill-opacity:.28}.label{stroke:#fff;stroke-width:3px;paint-order:stroke}"
    ".face{fill:none;stroke-width:2}.fake{stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){.card{fill:#161b22;stroke:#30363d}text{fill:#e6edf3}.axis{stroke:#9198a1}"
    ".grid{stroke:#30363d}.cut{stroke:#e6edf3}.same{stroke:#3fb950;fill:#3fb950}.impostor{stroke:#58a6ff;fill:#58a6ff}"
    ".own{stroke:#f0883e;fill:#f0883e}.other{stroke:#bc8cff;fill:#bc8cff}.face,.line{fill:none}.label{stroke:#161b22}}</style>"
)


def draw(out: Path) -> None:
    """Writes every drawing into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    for name, drawing in DRAWINGS.items():
        (out / f"{name}.svg").write_text(drawing() + "\n", encoding="utf-8")


def _card(label: str, body: str, height: int = _HEIGHT) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">{_STYLE}'
        f'<rect class="card" x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>{body}</svg>'
    )


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{words}</text>'


def _x(score: float) -> float:
    """A score in [-3, 7] to px."""
    return _LEFT + (score + 3) / 10 * (_RIGHT - _LEFT)


def _curve(mean: float, spread: float, kind: str, scale: float = 1.0) -> str:
    scores = np.linspace(-3, 7, 121)
    heights = scale * np.exp(-(((scores - mean) / spread) ** 2) / 2) * 140
    points = " ".join(f"{_x(x):.1f},{_BASE - y:.1f}" for x, y in zip(scores, heights, strict=True))
    return f'<polyline class="line {kind}" points="{points}"/>'


def _tail(mean: float, spread: float, kind: str, low: float, high: float) -> str:
    """The area under a curve from ``low`` to ``high``."""
    scores = np.linspace(low, high, 61)
    heights = np.exp(-(((scores - mean) / spread) ** 2) / 2) * 140
    points = " ".join(f"{_x(x):.1f},{_BASE - y:.1f}" for x, y in zip(scores, heights, strict=True))
    return f'<polygon class="area {kind}" points="{_x(low):.1f},{_BASE} {points} {_x(high):.1f},{_BASE}"/>'


def _axis(name: str) -> str:
    arrow = f"M{_LEFT} {_BASE}H{_RIGHT}M{_RIGHT - 7} {_BASE - 4}L{_RIGHT} {_BASE}L{_RIGHT - 7} {_BASE + 4}"
    return f'<path class="axis" d="{arrow}"/>' + _text(_RIGHT, _BASE + 18, name, "small", "end")


def _threshold(score: float, name: str = "threshold") -> str:
    x = _x(score)
    line = f'<line class="cut" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{_BASE + 6}"/>'
    return line + _text(x, _TOP - 12, name, "small")


def _label(score: float, y: float, words: str, kind: str, anchor: str = "middle") -> str:
    return _text(_x(score), y, words, f"label small b {kind}", anchor)


def _face(x: float, y: float, kind: str, person: str, fake: bool) -> str:
    style = f"face {kind}{' fake' if fake else ''}"
    eyes = f'<circle class="{kind}" cx="{x - 9}" cy="{y - 5}" r="2"/><circle class="{kind}" cx="{x + 9}" cy="{y - 5}" r="2"/>'
    mouth = f'<path class="{style}" d="M{x - 9} {y + 10}q9 8 18 0"/>'
    said = f"deepfake of {person}" if fake else f"photo of {person}"
    return f'<circle class="{style}" cx="{x}" cy="{y}" r="27"/>{eyes}{mouth}' + _text(x, y + 46, said, "small")


def _pairs() -> str:
    tiles = [
        ("same", "same", "Ann", False, "accept"),
        ("impostor", "impostor", "Bob", False, "reject"),
        ("own_fake", "own", "Ann", True, "reject"),
        ("other_fake", "other", "Bob", True, "reject"),
    ]
    body = ""
    for place, (name, kind, person, fake, truth) in enumerate(tiles):
        x, y = 20 + (place % 2) * 305, 20 + (place // 2) * 150
        body += f'<rect class="card" x="{x}" y="{y}" width="295" height="138" rx="6"/>'
        body += _text(x + 14, y + 24, name, f"label b {kind}", "start") + _text(x + 281, y + 24, truth, "small", "end")
        body += _face(x + 85, y + 70, kind, "Ann", False) + _face(x + 210, y + 70, kind, person, fake)
    return _card("The four kinds of pairs: same, impostor, own fake, other fake", body, 328)


def _eer() -> str:
    body = _curve(-0.5, 0.75, "impostor") + _curve(1.7, 1.0, "own") + _curve(4.2, 1.0, "same")
    body += _label(-0.5, 58, "other people", "impostor") + _label(1.7, 58, "own deepfakes", "own")
    body += _label(4.2, 58, "same person", "same") + _axis("similarity")
    for score, name, y in ((1.5, "SV", 0), (2.95, "SPF", 0)):
        body += f'<line class="cut" x1="{_x(score):.1f}" x2="{_x(score):.1f}" y1="90" y2="{_BASE + 6}"/>'
        body += _text(_x(score), _BASE + 22 + y, f"{name}-EER here", "small")
    return _card("Score densities; an EER is where a threshold errs as often on either side", body)


def _fmr() -> str:
    cut = 2.2
    body = _tail(0.4, 1.1, "impostor", cut, 6) + _tail(4.0, 1.1, "same", -1, cut)
    body += _curve(0.4, 1.1, "impostor") + _curve(4.0, 1.1, "same") + _threshold(cut) + _axis("similarity")
    body += _label(0.4, 58, "other people", "impostor") + _label(4.0, 58, "same person", "same")
    body += _label(cut + 0.15, _BASE - 8, "FMR", "impostor", "start") + _label(
        cut - 0.15, _BASE - 8, "FNMR", "same", "end"
    )
    return _card("FMR: other people right of the threshold. FNMR: the same person left of it", body)


def _iapar() -> str:
    cut = 2.9
    body = _tail(2.4, 1.3, "own", cut, 7) + _curve(-0.6, 0.9, "impostor") + _curve(2.4, 1.3, "own")
    body += _curve(4.8, 0.8, "same") + _threshold(cut) + _axis("similarity")
    body += _label(-0.6, 58, "other people", "impostor") + _label(1.6, 58, "own deepfakes", "own")
    body += _label(4.8, 58, "same person", "same") + _label(cut + 0.15, _BASE - 12, "IAPAR", "own", "start")
    return _card("IAPAR: the share of own deepfakes right of the threshold", body)


def _apcer() -> str:
    cut = 1.4
    body = _tail(0.2, 1.2, "own", cut, 5) + _tail(4.0, 1.1, "same", 0, cut)
    body += _curve(0.2, 1.2, "own") + _curve(4.0, 1.1, "same") + _axis("log-odds that a photo is genuine")
    body += _threshold(cut, "authenticity threshold")
    body += _label(-0.3, 58, "deepfakes", "own") + _label(4.0, 58, "genuine photos", "same")
    body += _label(cut + 0.15, _BASE - 10, "APCER", "own", "start") + _label(
        cut - 0.12, _BASE - 10, "BPCER", "same", "end"
    )
    return _card("APCER: deepfakes right of the threshold. BPCER: genuine photos left of it", body)


def _det() -> str:
    rates = (0.001, 0.01, 0.05, 0.2, 0.4)
    low, high = (NormalDist().inv_cdf(rate) for rate in (0.0005, 0.5))

    def x(rate: float) -> float:
        return 90 + (NormalDist().inv_cdf(rate) - low) / (high - low) * 300

    def y(rate: float) -> float:
        return 290 - (NormalDist().inv_cdf(rate) - low) / (high - low) * 250

    body = ""
    for rate in rates:
        body += f'<line class="grid" x1="{x(rate):.1f}" x2="{x(rate):.1f}" y1="40" y2="290"/>'
        body += f'<line class="grid" x1="90" x2="390" y1="{y(rate):.1f}" y2="{y(rate):.1f}"/>'
        body += _text(x(rate), 307, f"{rate:.1%}", "small") + _text(84, y(rate) + 4, f"{rate:.1%}", "small", "end")
    for kind, distance in (("impostor", 4.2), ("own", 1.9)):
        points = []
        for cut in np.linspace(low, high, 80):
            missed = NormalDist().cdf(-distance - cut)
            if 0.0005 <= missed <= 0.5:
                points.append(f"{x(NormalDist().cdf(cut)):.1f},{y(missed):.1f}")
        body += f'<polyline class="line {kind}" points="{" ".join(points)}"/>'
    body += '<path class="cut" style="fill:none" d="M90 290L390 40"/>' + '<path class="axis" d="M90 40V290H390"/>'
    body += _text(240, 326, "FMR, or IAPAR (probit scale)", "small") + _text(
        90, 28, "FNMR (probit scale)", "small", "start"
    )
    body += _label_at(410, 215, "against other people", "impostor") + _label_at(
        410, 130, "against own deepfakes", "own"
    )
    body += _text(410, 60, "the EER is where a curve", "small", "start") + _text(
        410, 76, "crosses the dashed line", "small", "start"
    )
    return _card("DET: misses over false matches, both on a probit scale", body, 340)


def _label_at(x: float, y: float, words: str, kind: str) -> str:
    return _text(x, y, words, f"label small b {kind}", "start")


DRAWINGS: dict[str, Callable[[], str]] = {
    "pairs": _pairs,
    "eer": _eer,
    "fmr": _fmr,
    "iapar": _iapar,
    "apcer": _apcer,
    "det": _det,
}

if __name__ == "__main__":
    draw(IMAGES)
