"""Trains the network that sees covered and turned faces (bonaface/images/face_check.py).

python benchmarks/face_check_training.py prepare --out CACHE --detector YUNET.onnx FOLDER ...
    detects the face of each photo in folders of upright, mostly uncovered photos; every second person is left out, for tests
python benchmarks/face_check_training.py train --cache CACHE --minutes 15 --out bonaface/assets/face_check.onnx [--init EXPORTED]
    covers are drawn on each photo anew: masks, scarves, hands' and bars' shapes, sunglasses; and things that cover neither eyes
    nor mouth (caps, glasses, plaster on a cheek), which must not count

Measured by benchmarks/quality.py, which draws its covers by itself.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bonaface.errors import DataError
from bonaface.images.alignment import Aligner
from bonaface.images.decoding import decode
from bonaface.images.face_check import SIDE, brightened, head_square

Image = NDArray[np.uint8]
Points = NDArray[np.float32]

STORED, ROOM = 112, 1.6
"""Side in px of the squares that are kept, and of that square as a share of the face's longer side."""
BATCH, RATE = 64, 4e-3


def prepare(folders: list[Path], detector: Path, out: Path) -> None:
    """Keeps a square around each face and its five points in that square."""
    aligner = Aligner(detector)
    squares, points = [], []
    for folder in folders:
        people = sorted(each for each in folder.iterdir() if each.is_dir())
        for path in sorted(path for person in people[::2] for path in person.iterdir()):
            try:
                image = decode(path)
            except DataError:
                continue
            faces = aligner.faces(image)
            if len(faces) != 1:
                continue
            x, y, w, h = faces[0, :4]
            side = max(w, h) * ROOM
            squares.append(head_square(image, faces[0, :4].tolist(), STORED, ROOM))
            corner = np.array([x + w / 2 - side / 2, y + h / 2 - side / 2])
            points.append((faces[0, 4:14].reshape(5, 2) - corner) * (STORED / side))
        print(f"{folder}: {len(squares)} faces so far", flush=True)
    np.savez(out, squares=np.stack(squares), points=np.stack(points).astype(np.float32))


class Artist:
    """Draws on faces. Lengths are in distances between the eyes, from the point between them, along and across the face.

    Args:
        squares: where it takes patterns from.
        random: what is drawn.
    """

    def __init__(self, squares: NDArray[np.uint8], random: np.random.Generator) -> None:
        self.squares, self.random = squares, random

    def draw(self, image: Image, points: Points) -> tuple[Image, bool, bool]:
        """The image with or without things on it; whether eyes and mouth are covered."""
        what = self.random.random()
        eyes, mouth = bool(what < 0.24 or 0.48 <= what < 0.54), bool(0.24 <= what < 0.54)
        for _ in range(int(self.random.random() < 0.45) + int(self.random.random() < 0.15)):
            image = self._harmless(image, points)
        if mouth:
            image = self._lower(image, points)
        if eyes:
            image = self._sunglasses(image, points) if self.random.random() < 0.6 else self._bar(image, points)
        return image, eyes, mouth

    def _place(self, points: Points, shape: list[tuple[float, float]]) -> NDArray[np.float32]:
        middle, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
        down = mouth - middle
        apart = max(float(np.linalg.norm(points[1] - points[0])), 0.865 * float(np.linalg.norm(down)))
        down = down / max(float(np.linalg.norm(down)), 1e-6)
        across = np.array([down[1], -down[0]])
        if across @ (points[1] - points[0]) < 0:
            across = -across
        # The mouth lies 1.16 eye distances below the eyes of ArcFace's template.
        tall = max(float(np.linalg.norm(mouth - middle)), 1.0) / 1.16
        return np.array([middle + apart * x * across + tall * y * down for x, y in shape], np.float32)

    def _lower(self, image: Image, points: Points) -> Image:
        u = self.random.uniform
        top, wide, end = u(0.2, 0.85), u(0.75, 1.25), u(1.55, 2.4)
        kind = self.random.integers(4)
        if kind == 0:  # a box
            shape = [(-wide, top), (wide, top), (wide, end), (-wide, end)]
        elif kind == 1:  # a mask: higher over the nose, narrow at the chin
            rise, chin = u(0.0, 0.35), u(0.3, 0.7) * wide
            shape = [
                (-wide, top + 0.25),
                (-0.35, top),
                (0, top - rise),
                (0.35, top),
                (wide, top + 0.25),
                (u(0.7, 1) * wide, 1.3),
                (chin, end),
                (-chin, end),
                (-u(0.7, 1) * wide, 1.3),
            ]
        elif kind == 2:  # an ellipse
            angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            shape = [(wide * np.cos(a), (top + end) / 2 + (end - top) / 2 * np.sin(a)) for a in angle]
        else:  # something torn, as a hand or a scarf
            angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
            far = self.random.uniform(0.8, 1.2, 14)
            shift = u(-0.2, 0.2)
            shape = [
                (shift + wide * f * np.cos(a), 1.25 + f * 0.75 * np.sin(a)) for a, f in zip(angle, far, strict=True)
            ]
        return self._fill(image, self._place(points, shape), soft=u(0.3, 1.6), shaded=self.random.random() < 0.5)

    def _bar(self, image: Image, points: Points) -> Image:
        u = self.random.uniform
        up, low, left, right = u(0.18, 0.6), u(0.18, 0.55), u(0.75, 1.6), u(0.75, 1.6)
        skew = u(-0.1, 0.1)
        shape = [(-left, -up - skew), (right, -up + skew), (right, low + skew), (-left, low - skew)]
        return self._fill(image, self._place(points, shape), soft=u(0.2, 1.5), shaded=self.random.random() < 0.3)

    def _sunglasses(self, image: Image, points: Points) -> Image:
        u = self.random.uniform
        wide, up, low, power = u(0.34, 0.5), u(0.2, 0.38), u(0.25, 0.5), u(2.0, 5.0)
        colour = self.random.uniform(0, 70, 3) if self.random.random() < 0.8 else self.random.uniform(0, 200, 3)
        opacity = u(0.78, 1.0)
        for side in (-0.5, 0.5):
            angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
            cos, sin = np.cos(angle), np.sin(angle)
            x = side + wide * np.sign(cos) * np.abs(cos) ** (2 / power)
            y = np.where(sin < 0, up, low) * np.sign(sin) * np.abs(sin) ** (2 / power)
            image = self._fill(
                image, self._place(points, list(zip(x, y, strict=True))), 0.6, False, colour, opacity, shine=True
            )
        rim = self._place(
            points,
            [
                (-0.5 + wide, -0.1),
                (0.5 - wide, -0.1),
                (-0.5 - wide, -0.1),
                (-1.1, -0.15),
                (0.5 + wide, -0.1),
                (1.1, -0.15),
            ],
        )
        drawn = image.copy()
        for a, b in ((0, 1), (2, 3), (4, 5)):
            cv2.line(
                drawn,
                rim[a].round().astype(int).tolist(),
                rim[b].round().astype(int).tolist(),
                colour.tolist(),
                int(self.random.integers(1, 3)),
                cv2.LINE_AA,
            )
        return drawn

    def _harmless(self, image: Image, points: Points) -> Image:
        u = self.random.uniform
        kind = self.random.integers(5)
        if kind == 0:  # a cap or a fringe
            low, high = -u(0.42, 0.7), -u(1.2, 2.2)
            shape = [(-1.3, low + u(-0.1, 0.2)), (0, low), (1.3, low + u(-0.1, 0.2)), (1.1, high), (-1.1, high)]
            return self._fill(image, self._place(points, shape), u(0.3, 1.5), False)
        if kind == 1:  # a beard's darkness, the mouth still seen
            shape = [(-0.9, 0.8), (-0.5, 1.6), (0, 1.9), (0.5, 1.6), (0.9, 0.8), (0.45, 1.0), (0, 0.9), (-0.45, 1.0)]
            return self._fill(
                image, self._place(points, shape), u(2, 4), False, self.random.uniform(0, 90, 3), u(0.2, 0.6)
            )
        if kind == 2:  # something beside the face
            x, y = self.random.choice([-1, 1]) * u(1.05, 1.5), u(-0.5, 1.5)
            shape = [(x - 0.35, y - 0.5), (x + 0.35, y - 0.5), (x + 0.35, y + 0.5), (x - 0.35, y + 0.5)]
            return self._fill(image, self._place(points, shape), u(0.3, 1.5), False)
        if kind == 3:  # something below the chin
            low = u(1.75, 2.1)
            shape = [(-1.5, low + u(-0.15, 0.3)), (0, low + 0.1), (1.5, low + u(-0.15, 0.3)), (1.5, 3), (-1.5, 3)]
            return self._fill(image, self._place(points, shape), u(0.3, 1.5), False)
        return self._glasses(image, points)

    def _glasses(self, image: Image, points: Points) -> Image:
        u = self.random.uniform
        wide, tall, drawn = u(0.33, 0.48), u(0.22, 0.4), image.copy()
        colour = self.random.uniform(0, 160, 3).tolist()
        thick = int(self.random.integers(1, 3))
        angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        power = u(2.0, 5.0)
        cos, sin = np.cos(angle), np.sin(angle)
        for side in (-0.5, 0.5):
            x = side + wide * np.sign(cos) * np.abs(cos) ** (2 / power)
            y = 0.05 + tall * np.sign(sin) * np.abs(sin) ** (2 / power)
            edge = self._place(points, list(zip(x, y, strict=True)))
            if self.random.random() < 0.3:
                drawn = self._fill(drawn, edge, 0.5, False, self.random.uniform(0, 255, 3), u(0.05, 0.3), shine=True)
            cv2.polylines(drawn, [edge.round().astype(np.int32)], True, colour, thick, cv2.LINE_AA)
        arms = self._place(
            points, [(-0.5 + wide, 0), (0.5 - wide, 0), (-0.5 - wide, 0), (-1.1, -0.1), (0.5 + wide, 0), (1.1, -0.1)]
        )
        for a, b in ((0, 1), (2, 3), (4, 5)):
            cv2.line(
                drawn,
                arms[a].round().astype(int).tolist(),
                arms[b].round().astype(int).tolist(),
                colour,
                thick,
                cv2.LINE_AA,
            )
        return drawn

    def _fill(
        self,
        image: Image,
        shape: NDArray[np.float32],
        soft: float,
        shaded: bool,
        colour: NDArray[np.float64] | None = None,
        opacity: float = 1.0,
        shine: bool = False,
    ) -> Image:
        height, width = image.shape[:2]
        mask = np.zeros((height, width), np.float32)
        cv2.fillPoly(mask, [(shape * 16).round().astype(np.int32)], 1.0, cv2.LINE_AA, 4)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.6 * soft) * opacity
        paint = np.empty((height, width, 3), np.float32)
        paint[:] = self.random.uniform(0, 255, 3) if colour is None else colour
        if colour is None:
            paint = self._patterned(paint)
        if shine and self.random.random() < 0.6:
            ramp = np.linspace(0, self.random.uniform(0, 70), height, dtype=np.float32)[:, None, None]
            paint = paint + (ramp if self.random.random() < 0.5 else ramp[::-1])
        if shaded:
            grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), width / 12)
            paint = paint * (grey / max(float(grey.mean()), 1.0))[:, :, None].clip(0.4, 1.6)
        laid = image + (paint - image) * mask[:, :, None]
        return np.asarray(laid.clip(0, 255), np.uint8)

    def _patterned(self, paint: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = paint.shape[:2]
        kind = self.random.integers(7)
        if kind == 0:  # another photo's pixels, upside down or blurred, so that no face is there
            other = self.squares[self.random.integers(len(self.squares))]
            top, left = self.random.integers(0, STORED // 2, 2)
            piece = cv2.resize(other[top : top + STORED // 4, left : left + STORED // 4], (width, height))
            return np.asarray(cv2.GaussianBlur(piece, (0, 0), self.random.uniform(1, 5)), np.float32)
        if kind == 1:  # folds or stripes
            angle, pitch = self.random.uniform(-0.6, 0.6), self.random.uniform(2, 8)
            y, x = np.mgrid[0:height, 0:width].astype(np.float32)
            wave = np.sin((y * np.cos(angle) + x * np.sin(angle)) * (2 * np.pi / pitch))
            return np.asarray(paint + (wave * self.random.uniform(4, 45))[:, :, None], np.float32)
        if kind == 2:  # noise of some grain
            grain = self.random.normal(0, self.random.uniform(5, 40), (height // 4, width // 4, 3)).astype(np.float32)
            return paint + cv2.resize(grain, (width, height))
        if kind == 3:
            ramp = np.linspace(-40, 40, width, dtype=np.float32)[None, :, None]
            return np.asarray(paint + ramp * self.random.choice([-1, 1]), np.float32)
        if kind == 4:  # skin, as of a hand
            skin = self.random.uniform([150, 90, 60], [235, 190, 160])
            return np.asarray(skin + 0.1 * (paint - 128), np.float32)
        return paint


def worsen(image: Image, random: np.random.Generator) -> Image:
    """An image as bad cameras and codecs leave it."""
    if random.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), random.uniform(0.3, 1.6)), np.uint8)
    if random.random() < 0.6:
        gain, shift = (
            random.uniform(0.45, 1.4, 3) if random.random() < 0.3 else random.uniform(0.45, 1.4),
            random.uniform(-30, 30),
        )
        image = np.asarray((image * gain + shift).clip(0, 255), np.uint8)
    if random.random() < 0.12:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    if random.random() < 0.3:
        image = np.asarray((image + random.normal(0, random.uniform(2, 12), image.shape)).clip(0, 255), np.uint8)
    if random.random() < 0.4:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 95))])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return image


def look(image: Image, points: Points, artist: Artist, random: np.random.Generator) -> tuple[Image, list[float]]:
    """One example: the network's input and its target (eyes, mouth, turns)."""
    scale = SIDE / (STORED / ROOM * 1.25) * np.exp(random.normal(0, 0.08))
    angle = np.radians(random.normal(0, 9))
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if random.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1.0])
    centre = np.full(2, STORED / 2) + random.normal(0, 0.05 * STORED / ROOM, 2)
    matrix = np.column_stack([linear, SIDE / 2 - linear @ centre])
    seen = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    drawn, eyes, mouth = artist.draw(np.asarray(seen, np.uint8), (points @ linear.T + matrix[:, 2]).astype(np.float32))
    drawn = worsen(drawn, random)
    turns = int(random.integers(1, 4)) if random.random() < 0.3 else 0
    return brightened(np.ascontiguousarray(np.rot90(drawn, turns))), [float(eyes), float(mouth), float(turns)]


def block(channels: int, out: int, stride: int) -> nn.Sequential:
    """A convolution of each channel and one of all, as in MobileNet (Howard et al. 2017)."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


class FaceCheckNetwork(nn.Module):
    """Faces ``(n, 64, 64, 3)`` uint8 to logits ``(n, 6)``: eyes covered, mouth covered, four turns."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            block(16, 24, 2),
            block(24, 32, 1),
            block(32, 48, 2),
            block(48, 64, 1),
            block(64, 96, 2),
            block(96, 96, 1),
            nn.Conv2d(96, 96, 4, groups=96, bias=False),  # each place of the face has its weight
            nn.BatchNorm2d(96),
        )
        self.head = nn.Linear(96, 6)

    def forward(self, faces: Tensor) -> Tensor:
        """Logits."""
        x = faces.permute(0, 3, 1, 2).float() / 127.5 - 1  # (n, 3, 64, 64)
        logits: Tensor = self.head(self.features(x).flatten(1))
        return logits


class Probabilities(nn.Module):
    """The network as it is exported."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor) -> Tensor:
        """Probabilities ``(n, 6)``."""
        logits = self.network(faces)
        return torch.cat([torch.sigmoid(logits[:, :2]), torch.softmax(logits[:, 2:], dim=1)], dim=1)


def load(network: FaceCheckNetwork, exported: Path, faces: Tensor) -> None:
    """Takes the weights of an exported network; its batch norms, which were folded, are made anew from ``faces``."""
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load(exported).graph
    stored = {each.name: torch.tensor(to_array(each)) for each in graph.initializer}
    layers = iter(
        [[stored[name] for name in node.input[1:]] for node in graph.node if node.op_type in ("Conv", "Gemm")]
    )
    x = faces.permute(0, 3, 1, 2).float() / 127.5 - 1
    flat = [each for each in network.features.modules() if not isinstance(each, nn.Sequential)]
    with torch.no_grad():
        for layer, following in zip(flat, [*flat[1:], nn.Identity()], strict=True):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                weight, bias = next(layers)
                layer.weight.copy_(weight)
                seen = layer(x)
                following.running_mean = seen.mean(dim=(0, 2, 3))
                following.running_var = seen.var(dim=(0, 2, 3))
                following.weight.copy_((following.running_var + following.eps).sqrt())
                following.bias.copy_(following.running_mean + bias)
                following.eval()
            x = layer(x)
        weight, bias = next(layers)
        network.head.weight.copy_(weight)
        network.head.bias.copy_(bias)
    network.train()


def train(cache: Path, minutes: float, out: Path, seed: int, init: Path | None) -> None:
    """Trains for some minutes and writes the network as ONNX."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    random = np.random.default_rng(seed)
    with np.load(cache) as stored:
        squares, points = stored["squares"], stored["points"]
    artist, network = Artist(squares, random), FaceCheckNetwork()
    if init is not None:
        rows = random.integers(len(squares), size=8 * BATCH)
        seen = [look(squares[row], points[row], artist, random)[0] for row in rows]
        load(network, init, torch.from_numpy(np.stack(seen)))
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-3)
    start, step, running = time.monotonic(), 0, 0.0
    while (spent := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * spent))
        rows = random.integers(len(squares), size=BATCH)
        drawn = [look(squares[row], points[row], artist, random) for row in rows]
        faces = torch.from_numpy(np.stack([image for image, _ in drawn]))
        target = torch.tensor([label for _, label in drawn])
        logits = network(faces)
        loss = functional.binary_cross_entropy_with_logits(logits[:, :2], target[:, :2] * 0.98 + 0.01)
        loss = loss + 0.5 * functional.cross_entropy(logits[:, 2:], target[:, 2].long(), label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        running, step = 0.98 * running + 0.02 * float(loss.detach()), step + 1
        if step % 100 == 0:
            print(f"step {step}, {step * BATCH} faces, {spent:.0%}, loss {running / (1 - 0.98**step):.4f}", flush=True)
            save(network, out)
            network.train()
    save(network, out)
    print(f"{step} steps, {sum(p.numel() for p in network.parameters())} weights, {out.stat().st_size} bytes")


def save(network: nn.Module, out: Path) -> None:
    """Writes the network as ONNX, batch norms folded into the convolutions."""
    network.eval()
    torch.onnx.export(
        Probabilities(network),
        (torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8),),
        str(out),
        input_names=["faces"],
        output_names=["seen"],
        dynamic_axes={"faces": {0: "n"}, "seen": {0: "n"}},
        dynamo=False,
    )


def main() -> None:
    """Parses and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("prepare")
    first.add_argument("folders", nargs="+", type=Path)
    first.add_argument("--detector", type=Path, required=True)
    first.add_argument("--out", type=Path, required=True)
    second = commands.add_parser("train")
    second.add_argument("--cache", type=Path, required=True)
    second.add_argument("--minutes", type=float, default=15)
    second.add_argument("--out", type=Path, required=True)
    second.add_argument("--seed", type=int, default=1)
    second.add_argument("--init", type=Path, help="an exported network to start from")
    options = parser.parse_args()
    if options.command == "prepare":
        prepare(options.folders, options.detector, options.out)
    else:
        train(options.cache, options.minutes, options.out, options.seed, options.init)


if __name__ == "__main__":
    main()
