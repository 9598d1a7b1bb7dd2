from pathlib import Path

import pandas as pd
import pytest

from bonaface.data.pair_labels import forged_sides, labels_of
from bonaface.errors import DataError


def table(header: str, *rows: str) -> pd.DataFrame:
    names = ["pair_id", "label", *header.split(",")]
    return pd.DataFrame([[f"{n}", *row.split(",")] for n, row in enumerate(rows)], columns=names, dtype=str)


def test_methods_and_people_say_the_kinds() -> None:
    rows = ("1,a,a,real,real", "0,a,b,real,", "0,a,a,swap,real", "0,a,b,real,swap")
    frame = table("person_0,person_1,method_0,method_1", *rows)
    labels = labels_of(frame, Path("l.csv"))
    assert labels["kind"].tolist() == ["same", "impostor", "own_fake", "other_fake"]
    assert labels["method_1"].tolist() == ["real", "real", "real", "swap"]
    assert forged_sides(labels).tolist() == [[False, False, True, False], [False, False, False, True]]
    pd.testing.assert_frame_equal(labels_of(frame.assign(kind=labels["kind"]), Path("l.csv")), labels)


def test_people_alone_say_no_kinds() -> None:
    assert "kind" not in labels_of(table("person_0,person_1", "1,a,a", "0,a,b", "0,,"), Path("l.csv"))


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        (
            "kind,person_0,person_1",
            "0,impostor,a,a",
            "kind impostor (label 0) has the person a twice; expected two people",
        ),
        ("kind,person_0,person_1", "0,other_fake,a,a", "kind other_fake (label 0) has the person a twice"),
        ("kind,person_0,person_1", "1,same,a,b", "kind same (label 1) has the people a and b; expected one person"),
        ("kind,person_0,person_1", "0,own_fake,a,b", "kind own_fake (label 0) has the people a and b; expected one"),
        ("person_0,person_1", "0,a,a", "kind impostor (label 0) has the person a twice"),
        ("person_0,person_1", "1,a,b", "kind same (label 1) has the people a and b"),
        (
            "kind,method_0,method_1",
            "0,impostor,real,swap",
            "kind impostor (label 0) has method real and swap; expected real",
        ),
        ("kind,method_1", "1,same,swap", "kind same (label 1) has method swap; expected real"),
        ("method_0,method_1", "1,swap,real", "kind same (label 1) has method swap and real; expected real"),
        (
            "kind,method_0,method_1",
            "0,own_fake,real,",
            "kind own_fake (label 0) has method real and ; expected that of a",
        ),
        ("method_0,method_1", "0,real,swap", "has a deepfake; expected the column kind, or the people in person_0"),
        ("person_0,person_1,method_1", "0,a,,swap", "has a deepfake; expected the column kind, or the people"),
    ],
)
def test_columns_that_contradict_each_other_are_refused(header: str, row: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        labels_of(table(header, row), Path("l.csv"), [7])
    assert str(caught.value).startswith(f"l.csv: line 7: pair 0: {said}")
