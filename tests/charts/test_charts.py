"""Charts are well-formed whatever the scores and names."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from bonaface.charts.curves import det_chart, histogram_chart, reliability_chart, roc_chart
from bonaface.charts.svg import Axis, Chart

SCORES = {
    "normal": (np.linspace(0, 1, 50), np.linspace(-0.5, 0.6, 80)),
    "separated": (np.array([0.9, 0.8]), np.array([0.1, 0.2])),
    "equal": (np.full(5, 0.5), np.full(7, 0.5)),
    "one pair each": (np.array([0.2]), np.array([0.7])),
    "huge": (np.array([1e9, 2e9, 3e9]), np.array([-4e9, 1.5e9])),
    "reversed": (np.linspace(0, 0.4, 30), np.linspace(0.5, 1, 30)),
}


def marks(svg: str, kind: str) -> list[ET.Element]:
    return [each for each in ET.fromstring(svg).iter(kind) if "class" in each.attrib]  # noqa: S314 - our own


@pytest.mark.parametrize("name", SCORES)
def test_charts_stay_inside_their_frame(name: str) -> None:
    same, different = SCORES[name]
    scores = np.concatenate([same, different])
    groups = {"same": np.arange(len(scores)) < len(same), "different": np.arange(len(scores)) >= len(same)}
    title = '<b>& "it\'s"'
    for svg in (
        det_chart([(title, same, different)], title),
        roc_chart([(title, same, different)], title),
        histogram_chart(scores, groups, [(float(np.median(scores)), title)], title),
    ):
        root = ET.fromstring(svg)  # noqa: S314 - our own
        assert root.attrib["aria-label"] == title
        width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
        for each in [*root.iter("polyline"), *root.iter("polygon")]:
            points = np.array([pair.split(",") for pair in each.attrib["points"].split()], dtype=float)
            assert np.isfinite(points).all()
            assert ((points >= 0) & (points <= [width, height])).all()


def test_a_line_lies_where_its_numbers_say() -> None:
    chart = Chart("t", Axis("x", 0, 10, []), Axis("y", -1, 1, []), width=284, height=258)
    chart.line([0, 10], [-1, 1], 7)
    (line,) = marks(chart.svg(), "polyline")
    assert line.attrib["points"] == "64.0,212.0 264.0,12.0"
    assert line.attrib["class"] == "line c1"


def test_the_roc_passes_through_its_points() -> None:
    svg = roc_chart([("a", np.array([0.9, 0.1]), np.linspace(0.2, 0.6, 10))], "t")
    (line,) = marks(svg, "polyline")
    points = np.array([pair.split(",") for pair in line.attrib["points"].split()], dtype=float)
    frame = ET.fromstring(svg).find("rect").attrib  # noqa: S314 - our own
    middle = float(frame["y"]) + float(frame["height"]) / 2
    assert (np.abs(points[:, 1] - middle) < 0.1).sum() >= 2  # half of the mated pairs at any rate below 1
    assert (np.diff(points[:, 0]) >= 0).all()
    assert (np.diff(points[:, 1]) <= 0).all()


def test_each_histogram_is_as_tall_as_its_neighbours() -> None:
    scores = np.concatenate([np.zeros(1000), np.ones(10)])
    groups = {"same": scores == 1, "different": scores == 0}
    heights = []
    for area in marks(histogram_chart(scores, groups, [], "t"), "polygon"):
        ups = np.array([pair.split(",")[1] for pair in area.attrib["points"].split()], dtype=float)
        heights.append(np.ptp(ups))
    assert heights[0] == pytest.approx(heights[1], abs=0.2)


def test_dots_grow_with_their_weight() -> None:
    rows = [{"predicted": 0.1, "observed": 0.2, "weight": 0.1}, {"predicted": 0.9, "observed": 0.8, "weight": 0.9}]
    small, large = marks(reliability_chart(rows, "t"), "circle")
    assert float(small.attrib["r"]) < float(large.attrib["r"])
