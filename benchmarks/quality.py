"""What covered, turned and poor photos do to verification, and what the quality gate makes of them.

python benchmarks/quality.py measure --people FOLDER --out ROWS.pkl
    photos of people whom the network of face_check.py was not trained on (every second folder): as they are, and covered, turned,
    blurred, shrunk and darkened by script; embedded by the identity network of the shipped model
python benchmarks/quality.py report ROWS.pkl
    pairs of one person and pairs of strangers that are accepted, of all photos and of those that the gate lets through; error by
    quality (ISO/IEC 29794-1: error versus discard)
python benchmarks/quality.py refusals FOLDER ...
    the share of genuine, upright and mostly uncovered photos that the gate refuses, by reason, and that are rotated by mistake
python benchmarks/quality.py tones FOLDER ...
    the share of the same photos that are refused for covered eyes, and of sunglasses drawn on them that are seen, by the tone of
    the cheeks in the image

The covers are drawn by other rules than those that the network was trained with.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import bonaface
from bonaface.assets import SHIPPED_MODEL, shipped_detector
from bonaface.errors import DataError
from bonaface.images.alignment import Aligner
from bonaface.images.decoding import decode
from bonaface.images.face_check import check_face
from bonaface.images.quality import VERIFICATION, FaceQuality, assess, faces_of, problem_of, unfit
from bonaface.images.upright import find_upright
from bonaface.verification.scoring import weighed

Image = NDArray[np.uint8]
Place = Callable[[float, float], NDArray[np.float64]]

FMR = 1e-3
REPLICATES = 1000
PEOPLE, PHOTOS = 105, 5
DEGRADED: dict[str, Callable[[Image], Image]] = {
    "blurred, sigma 1.5": lambda image: as_image(cv2.GaussianBlur(image, (0, 0), 1.5)),
    "blurred, sigma 2.5": lambda image: as_image(cv2.GaussianBlur(image, (0, 0), 2.5)),
    "blurred, sigma 4": lambda image: as_image(cv2.GaussianBlur(image, (0, 0), 4)),
    "shrunk to 0.2": lambda image: shrunk(image, 0.2),
    "shrunk to 0.3": lambda image: shrunk(image, 0.3),
    "shrunk to 0.45": lambda image: shrunk(image, 0.45),
    "light times 0.1": lambda image: as_image(image * 0.1),
    "light times 0.25": lambda image: as_image(image * 0.25),
    "light times 3": lambda image: as_image(image * 3.0),
}


@dataclass(frozen=True)
class Row:
    """A photo in one condition.

    Args:
        person: whom it shows.
        condition: what was done to it.
        embedding: unit vector; None where no face was found.
        quality: of the face.
    """

    person: str
    condition: str
    embedding: NDArray[np.float32] | None
    quality: FaceQuality | None


def as_image(pixels: NDArray[Any]) -> Image:
    """Rounded down into 0..255."""
    return np.asarray(pixels.clip(0, 255), np.uint8)


def shrunk(image: Image, factor: float) -> Image:
    """A smaller image."""
    return as_image(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))


def face_place(points: NDArray[np.float32]) -> Place:
    """From distances in eye distances, along and across the face from between its eyes, to px."""
    middle, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - middle
    length = float(np.linalg.norm(down))
    apart = max(float(np.linalg.norm(points[1] - points[0])), 0.865 * length)
    down = down / max(length, 1e-6)
    across = np.array([down[1], -down[0]])
    if across @ (points[1] - points[0]) < 0:
        across = -across
    return lambda x, y: np.asarray(middle + apart * (x * across + y * down), np.float64)


def filled(image: Image, place: Place, shape: list[tuple[float, float]], colour: tuple[int, int, int]) -> Image:
    """The image with a polygon on it."""
    drawn = image.copy()
    cv2.fillPoly(drawn, [np.array([place(*each) for each in shape]).round().astype(np.int32)], colour, cv2.LINE_AA)
    return drawn


def flat_patch(image: Image, place: Place) -> Image:
    """A grey patch from nose to chin."""
    return filled(image, place, [(-1, 0.45), (1, 0.45), (1, 2.2), (-1, 2.2)], (128, 128, 128))


def bar(image: Image, place: Place) -> Image:
    """A black bar over the eyes."""
    return filled(image, place, [(-1.1, -0.3), (1.1, -0.3), (1.1, 0.3), (-1.1, 0.3)], (0, 0, 0))


def surgical_mask(image: Image, place: Place) -> Image:
    """A light blue mask with folds."""
    shape = [(-0.95, 0.55), (0, 0.3), (0.95, 0.55), (0.85, 1.4), (0.4, 2.0), (-0.4, 2.0), (-0.85, 1.4)]
    drawn = filled(image, place, shape, (170, 205, 225))
    for y in (0.8, 1.1, 1.4):
        left, right = (tuple(int(v) for v in place(x, y)) for x in (-0.8, 0.8))
        cv2.line(drawn, left, right, (140, 175, 200), 1, cv2.LINE_AA)
    return drawn


def sunglasses(image: Image, place: Place) -> Image:
    """Round, nearly black sunglasses."""
    angles = np.linspace(0, 6.28, 24)
    for side in (-0.5, 0.5):
        image = filled(image, place, [(side + 0.4 * np.cos(a), 0.05 + 0.33 * np.sin(a)) for a in angles], (15, 15, 15))
    left, right = (tuple(int(v) for v in place(x, -0.05)) for x in (-0.15, 0.15))
    cv2.line(image, left, right, (15, 15, 15), 2, cv2.LINE_AA)
    return image


def half(image: Image, grey: int) -> Image:
    """One half of the photo is of one grey."""
    covered = image.copy()
    covered[:, covered.shape[1] // 2 :] = grey
    return covered


def stretched(image: Image, factor: float) -> Image:
    """Wider than it was taken."""
    return as_image(cv2.resize(image, None, fx=factor, fy=1, interpolation=cv2.INTER_LINEAR))


COVERS: dict[str, Callable[[Image, Place], Image]] = {
    "half of it white": lambda image, place: half(image, 255),
    "half of it black": lambda image, place: half(image, 0),
    "stretched by 4:3": lambda image, place: stretched(image, 4 / 3),
    "stretched by 16:9": lambda image, place: stretched(image, 16 / 9),
    "stretched by 2:1": lambda image, place: stretched(image, 2),
    "flat patch": flat_patch,
    "bar over the eyes": bar,
    "surgical mask": surgical_mask,
    "sunglasses": sunglasses,
}


def conditions(image: Image, points: NDArray[np.float32], first: bool) -> Iterator[tuple[str, Image]]:
    """Names and images of what is done to a photo; turns and poor quality to each person's first one alone."""
    place = face_place(points)
    for name, cover in COVERS.items():
        yield name, cover(image, place)
    if first:
        for quarters in (1, 2, 3):
            yield f"turned by {90 * quarters}", np.ascontiguousarray(np.rot90(image, quarters))
        for name, degrade in DEGRADED.items():
            yield name, degrade(image)


def identity_network() -> Callable[[list[Image]], NDArray[np.float32]]:
    """The identity network of the shipped model: aligned faces to unit vectors. Authenticity only lowers a similarity."""
    import onnx
    import onnxruntime
    from onnx.utils import Extractor

    part = Extractor(onnx.load(SHIPPED_MODEL)).extract_model(["identity_pictures"], ["identity"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.onnx"
        onnx.save(part, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def embed(faces: list[Image]) -> NDArray[np.float32]:
        vectors = session.run(None, {"identity_pictures": np.stack(faces)})[0]
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    return embed


def measure(people: Path, out: Path) -> None:
    """Embeds photos in all conditions; a turned photo also after it was righted."""
    random, aligner, embed = np.random.default_rng(1), Aligner(shipped_detector()), identity_network()
    folders = sorted(each for each in people.iterdir() if each.is_dir())[1::2]
    rows: list[Row] = []

    def add(person: str, condition: str, image: Image, faces: NDArray[np.float32], rotated: int = 0) -> None:
        if not len(faces):
            rows.append(Row(person, condition, None, None))
            return
        quality = assess(image, faces_of(faces)[0], rotated)
        rows.append(Row(person, condition, embed([aligner.lay(image, faces).image])[0], quality))

    for number, folder in enumerate(folders[i] for i in random.permutation(len(folders))[:PEOPLE]):
        files = sorted(folder.iterdir())
        for place, file in enumerate(files[i] for i in random.permutation(len(files))[:PHOTOS]):
            image = decode(file)
            faces = aligner.faces(image)
            add(folder.name, "as it is", image, faces)
            changes = conditions(image, faces[0, 4:14].reshape(5, 2), place == 0) if len(faces) and place < 2 else ()
            for name, changed in changes:
                add(folder.name, name, changed, aligner.faces(changed))
                if name.startswith("turned"):
                    found = find_upright(changed, aligner)
                    add(folder.name, f"{name}, righted", found.image, found.faces, found.rotated)
        print(f"{number + 1} people, {len(rows)} photos", flush=True)
    out.write_bytes(pickle.dumps(rows))


def accepted(rows: list[Row], others: list[Row], threshold: float, gated: bool) -> tuple[str, str]:
    """Own pairs and strangers that are accepted, in percent with intervals, of pairs of one row of each list.

    Refused photos are not accepted. Intervals are 95 %, by bootstrap over people.
    """
    a, b = (
        np.stack([np.zeros(512, np.float32) if lost(row, gated) else np.asarray(row.embedding) for row in each])
        for each in (rows, others)
    )
    people = np.unique([row.person for row in (*rows, *others)])
    of_a, of_b = (np.equal.outer([row.person for row in each], people).astype(float) for each in (rows, others))
    cosines = a @ b.T
    told = (cosines < 0.9999).astype(float)  # not a photo with itself
    passes, pairs = ((of_a.T @ counted @ of_b) for counted in (told * (cosines >= threshold), told))  # (people, people)
    drawn = np.random.default_rng(0).multinomial(len(people), np.full(len(people), 1 / len(people)), REPLICATES)
    weights = np.concatenate([np.ones((1, len(people))), drawn])  # the first: everybody once
    own = (weights @ passes.diagonal()) / np.maximum(weights @ pairs.diagonal(), 1)
    for table in (passes, pairs):
        np.fill_diagonal(table, 0)
    strangers = [np.einsum("ri,ij,rj->r", weights, table, weights) for table in (passes, pairs)]
    return _share(own, 1), _share(strangers[0] / np.maximum(strangers[1], 1), 2)


def _share(values: NDArray[np.float64], digits: int) -> str:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return f"{values[0]:.{digits}%} [{100 * low:.{digits}f}, {100 * high:.{digits}f}]"


def lost(row: Row, gated: bool) -> bool:
    """Whether nothing is said of a photo."""
    return row.embedding is None or (gated and row.quality is not None and unfit(row.quality, VERIFICATION) is not None)


def threshold_of_cosine() -> float:
    """The cosine at which two surely genuine photos reach the threshold of the shipped model."""
    verifier = bonaface.load()
    calibration = verifier.embedder.calibration
    assert calibration is not None
    cosines = np.linspace(-1, 1, 200_001)
    return float(
        cosines[np.argmax(weighed(calibration, cosines, np.array(np.inf)) >= verifier.threshold(FMR).threshold)]
    )


def report(rows: list[Row]) -> None:
    """Prints the tables."""
    threshold = threshold_of_cosine()
    plain = [row for row in rows if row.condition == "as it is"]
    names = list(dict.fromkeys(row.condition for row in rows))
    print(
        f"cosine {threshold:.3f} at FMR {FMR:g}; {len({row.person for row in plain})} people, {len(plain)} photos as they are"
    )
    print(
        "| condition | photos | found | refused | own pairs accepted | after the gate | strangers accepted | after the gate |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        chosen = [row for row in rows if row.condition == name]
        other = chosen if name in COVERS or name == "as it is" else plain
        found = [row for row in chosen if row.quality is not None]
        refused = sum(lost(row, True) for row in found)
        before, after = (accepted(chosen, other, threshold, gated) for gated in (False, True))
        own_before, own_after = (accepted(chosen, plain, threshold, gated)[0] for gated in (False, True))
        print(
            f"| {name} | {len(chosen)} | {len(found)} | {refused} | {own_before} | {own_after} | {before[1]} | {after[1]} |"
        )
    turned = [row for row in rows if row.condition.endswith("righted") and row.quality is not None]
    for name in dict.fromkeys(row.condition for row in turned):
        print(name, Counter(row.quality.rotated for row in turned if row.condition == name and row.quality is not None))
    for measure_name in ("sharpness", "eyes", "brightness", "clipped", "turn"):
        curve(rows, plain, measure_name, threshold)


def curve(rows: list[Row], plain: list[Row], measure_name: str, threshold: float) -> None:
    """Error by quality: the share of own pairs that are not accepted, by bands of one photo's measure."""
    usable = [
        row
        for row in rows
        if row.embedding is not None and row.condition not in COVERS and not row.condition.startswith("turned")
    ]
    values = np.array([abs(getattr(row.quality, measure_name)) for row in usable])
    edges = np.quantile(values, [0, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 1])
    kept = [row for row in plain if row.embedding is not None]
    cosines = (
        np.stack([np.asarray(row.embedding) for row in usable])
        @ np.stack([np.asarray(row.embedding) for row in kept]).T
    )
    same = np.array([row.person for row in usable])[:, None] == np.array([row.person for row in kept])[None]
    same &= cosines < 0.9999
    print(f"\n{measure_name}: band, own pairs, not accepted; strangers accepted")
    for low, high in pairwise(edges):
        band = ((values >= low) & (values <= high))[:, None]
        own, strangers = band & same, band & ~same & (cosines < 0.9999)
        missed, false = (cosines < threshold)[own], (cosines >= threshold)[strangers]
        if own.sum():
            print(f"{low:8.3g} to {high:8.3g}: {own.sum():6d} {missed.mean():7.1%}  {false.mean():.2%}")


def photos_of(folder: Path) -> Iterator[Image]:
    """Photos of the people whom the network of face_check.py was not trained on."""
    for path in sorted(
        each for person in sorted(folder.iterdir())[1::2] if person.is_dir() for each in person.iterdir()
    ):
        try:
            yield decode(path)
        except DataError:
            continue


def refusals(folders: list[Path]) -> None:
    """Prints what the gate makes of photos as they are."""
    aligner = Aligner(shipped_detector())
    for folder in folders:
        reasons, rotated, count = Counter[str](), 0, 0
        for image in photos_of(folder):
            count += 1
            found = find_upright(image, aligner)
            rotated += found.rotated != 0
            faces = faces_of(found.faces)
            quality = assess(found.image, faces[0]) if faces else None
            problem = problem_of("", found.image.shape, faces, quality)
            if problem is not None:
                reasons[problem.removeprefix(": ").split(";")[0].split("(")[0]] += 1
        print(f"{folder.name}: {count} photos, {rotated} rotated ({wilson(rotated, count)})")
        for reason, number in reasons.most_common():
            print(f"  {number:4d} ({wilson(number, count)}) {reason}")


def tones(folders: list[Path]) -> None:
    """Prints who is refused for covered eyes, and whose sunglasses are seen, by the tone of the cheeks."""
    aligner, seen = Aligner(shipped_detector()), list[tuple[float, bool, bool]]()
    for image in (image for folder in folders for image in photos_of(folder)):
        for face in faces_of(aligner.faces(image))[:1]:
            drawn = sunglasses(image, face_place(np.array(face.points, np.float32)))
            plain, covered = (check_face(each, face.box).eyes_covered > VERIFICATION.covered for each in (image, drawn))
            seen.append((tone(image, np.array(face.points)), plain, covered))
    table = np.array(seen, np.float64)
    for low, high in pairwise((-90, -30, 10, 28, 55, 90)):
        rows = table[(table[:, 0] >= low) & (table[:, 0] < high)]
        shares = [wilson(int(rows[:, column].sum()), len(rows)) for column in (1, 2)]
        print(f"{low:4d} to {high:3d}: {len(rows):5d} photos, refused {shares[0]}; drawn sunglasses seen {shares[1]}")


def tone(image: Image, points: NDArray[np.float64]) -> float:
    """Individual typology angle of the cheeks in degrees (Chardon 1991): light skin above 28, dark below -30; light counts too."""
    reach = max(2, round(0.12 * float(np.hypot(*(points[1] - points[0])))))
    patches = []
    for eye, corner in ((0, 3), (1, 4)):
        x, y = (0.45 * points[eye] + 0.55 * points[corner]).astype(int)
        patches.append(image[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach].reshape(-1, 3))
    skin = np.median(np.concatenate(patches), axis=0).astype(np.float32) / 255
    lightness, _, yellow = cv2.cvtColor(skin[None, None], cv2.COLOR_RGB2LAB)[0, 0]
    return float(np.degrees(np.arctan2(lightness - 50, max(yellow, 1e-6))))


def wilson(hits: int, count: int) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    z, share = 1.96, hits / count
    middle, half = share + z * z / (2 * count), z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low, high = ((middle + sign * half) / (1 + z * z / count) for sign in (-1, 1))
    return f"{share:.2%}, {max(low, 0):.2%} to {high:.2%}"


def main() -> None:
    """Parses and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("measure")
    first.add_argument("--people", type=Path, required=True)
    first.add_argument("--out", type=Path, required=True)
    commands.add_parser("report").add_argument("rows", type=Path)
    for name in ("refusals", "tones"):
        commands.add_parser(name).add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "measure":
        measure(options.people, options.out)
    elif options.command == "report":
        report(pickle.loads(options.rows.read_bytes()))  # noqa: S301
    else:
        {"refusals": refusals, "tones": tones}[options.command](options.folders)


if __name__ == "__main__":
    main()
