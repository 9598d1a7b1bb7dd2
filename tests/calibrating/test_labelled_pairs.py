import pandas as pd

from bonaface.calibrating.labelled_pairs import LabelledPairs
from bonaface.evaluation.inputs import PairSource

pytest_plugins = ("labelled_pairs",)


def test_deepfakes_are_known_without_kinds(people_pairs) -> None:
    root = people_pairs(24)
    told = LabelledPairs.read(PairSource(root, root / "labels.csv"))
    pd.read_csv(root / "labels.csv", dtype=str).drop(columns="kind").to_csv(root / "l.csv", index=False)
    found = LabelledPairs.read(PairSource(root, root / "l.csv"))
    assert found.counts == told.counts == {"same": 8, "impostor": 4, "own_fake": 8, "other_fake": 4}
    assert found.is_fake.tolist() == told.is_fake.tolist()
    assert found.is_fake.sum() == 12
