from dataclasses import replace

import numpy as np
import pytest
import torch

from bonaface.data.pairs import read_labels, read_pairs
from bonaface.evaluation.attacks import attack
from bonaface.evaluation.corruptions import CORRUPTIONS
from bonaface.evaluation.figures import bootstrap_of, judge
from bonaface.evaluation.robustness import Subject, add_robustness, chosen_pairs, subject_of
from bonaface.evaluation.scores import PairScores
from bonaface.images.decoding import decode
from bonaface.inference.backends.torch import as_torch
from bonaface.inference.embedder import load_embedder
from bonaface.verification.calibration import Calibration, Logistic
from bonaface.verification.embeddings import Embeddings

pytest_plugins = ("labelled_pairs",)


@pytest.fixture
def judged(people_pairs):
    """48 pairs and their labels."""
    root = people_pairs(48)
    pairs = read_pairs(root)
    return pairs, read_labels(root / "labels.csv", pairs)


def all_alike(log_odds):
    """Embeddings of one vector, whose photos differ in their log-odds alone."""
    return Embeddings(np.full((len(log_odds), 2), np.sqrt(0.5), np.float32), log_odds)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_an_image_and_not_its_argument(name: str, rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    before = image.copy()
    first, again = (CORRUPTIONS[name](image, np.random.default_rng(0)) for _ in range(2))
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(first, again)
    if name == "half size":
        assert first.shape == (20, 30, 3)
    elif name == "64 px":
        assert first.shape == image.shape
        assert CORRUPTIONS[name](np.zeros((160, 320, 3), np.uint8), rng).shape == (64, 128, 3)
    elif name == "as they are":
        np.testing.assert_array_equal(first, image)
    else:
        assert first.shape == image.shape
        assert (first != image).mean() > 0.3


@pytest.mark.parametrize("steps", [1, 10])
def test_an_attack_stays_small_and_gains(network, steps: int) -> None:
    model = as_torch(load_embedder(str(network)).network).model
    generator = torch.Generator().manual_seed(0)
    fakes = {"identity": torch.randint(0, 256, (6, 3, 32, 32), generator=generator, dtype=torch.uint8)}
    others = {"identity": torch.randint(0, 256, (6, 3, 32, 32), generator=generator, dtype=torch.uint8)}
    target = model.embed(others)[0].detach()
    before = (model.embed(fakes)[0] * target).sum(1)
    gains = []
    for epsilon in (1.0, 8.0):
        moved = attack(model, fakes, target, Calibration(Logistic(1.0, 0.0)), epsilon, steps)["identity"]
        assert moved.dtype == torch.uint8
        assert (moved.int() - fakes["identity"].int()).abs().max() <= epsilon
        gains.append((model.embed({"identity": moved})[0] * target).sum(1) - before)
    assert (gains[0] > 0).all()
    assert (gains[1] > gains[0]).all()
    assert model.identity.frozen
    assert all(weight.grad is None for weight in model.parameters())


def test_the_card(network, judged) -> None:
    pairs, labels = judged
    rng = np.random.default_rng(0)
    scores = PairScores("m", "s", rng.random(48) + labels["label"].to_numpy())
    figures = judge(scores, labels, bootstrap_of(labels, 20))
    figures["operating_points"] = [{"fmr_target": 0.1, "source": "judged", "threshold": {"estimate": 0.6}}]
    embedder = load_embedder(str(network))
    subject = replace(subject_of(embedder), calibration=None)
    add_robustness(figures, subject, pairs, labels, 24, 0)
    rows = {row["condition"]: row for row in figures["robustness"]["rows"]}
    assert list(rows)[: len(CORRUPTIONS)] == list(CORRUPTIONS)
    assert figures["robustness"]["pairs"] == 24
    strengths = [rows[f"FGSM, {epsilon}/255"]["mean_similarity"] for epsilon in (1, 2, 4, 8)]
    assert rows["as they are"]["mean_similarity"] < strengths[0] < strengths[1] < strengths[2] < strengths[3]
    assert "called_fake" not in figures["robustness"]["columns"]
    assert rows["FGSM, 8/255"]["fnmr"] == rows["as they are"]["fnmr"]
    assert rows["FGSM, 8/255"]["eer_impostor"] == rows["as they are"]["eer_impostor"]
    assert rows["FGSM, 8/255"]["eer_own_fake"] >= rows["as they are"]["eer_own_fake"]
    add_robustness(figures, replace(subject, network=None), pairs, labels, 24, 0)
    without = figures["robustness"]
    assert without["rows"] == [rows[name] for name in CORRUPTIONS]
    assert "an exported model does not have" in without["note"]


def test_genuine_photos_called_fake_are_counted(judged) -> None:
    """A model to which a bright photo is genuine, at calibrated even odds where its mean is 100."""
    pairs, labels = judged

    def embed(images):
        return all_alike(np.float32([image.mean() for image in images]))

    calibration = Calibration(Logistic(1.0, 0.0), Logistic(0.1, -10.0))
    figures = {"operating_points": []}
    add_robustness(figures, Subject(embed, calibration, None, None), pairs, labels, 48, 0)
    rows = {row["condition"]: row["called_fake"] for row in figures["robustness"]["rows"]}
    paths = pairs.frame.loc[labels["label"].to_numpy() == 1, ["path_0", "path_1"]].to_numpy().ravel()
    dark = np.mean([decode(pairs.root / path).mean() < 100 for path in paths])
    assert rows["as they are"] == pytest.approx(dark)
    assert rows["brightness x 0.6"] > max(dark, 0.5)
    assert "called_fake" in figures["robustness"]["columns"]


def test_the_chosen_pairs_keep_the_shares_of_the_kinds(people_pairs) -> None:
    root = people_pairs(48)
    labels = read_labels(root / "labels.csv", read_pairs(root))
    chosen = chosen_pairs(labels, 24, 0)
    assert labels["kind"].iloc[chosen].value_counts().to_dict() == (labels["kind"].value_counts() // 2).to_dict()
    np.testing.assert_array_equal(chosen, chosen_pairs(labels, 24, 0))
    assert len(chosen_pairs(labels, 10**6, 0)) == 48


def test_the_card_refuses_at_a_threshold_what_a_verdict_refuses(judged) -> None:
    """Here every photo is called a deepfake: none passes, however alike the two are."""
    pairs, labels = judged

    def embed(images):
        return all_alike(np.full(len(images), -1, np.float32))

    calibration = Calibration(Logistic(1.0, 0.0), Logistic(1.0, 0.0))
    figures = {"operating_points": [{"fmr_target": 0.01, "source": "judged", "threshold": {"estimate": -100.0}}]}
    add_robustness(figures, Subject(embed, calibration, None, None), pairs, labels, 48, 0)
    row = figures["robustness"]["rows"][0]
    assert (row["fnmr"], row["iapar"], row["called_fake"]) == (1.0, 0.0, 1.0)
