"""What the service says, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

__all__ = [
    "Candidate",
    "Erased",
    "FaceSeen",
    "Health",
    "HistogramSeen",
    "ImageSeen",
    "ModelSeen",
    "NewPhotos",
    "PeoplePage",
    "PersonSeen",
    "PersonVerdict",
    "PhotoSeen",
    "ProblemSeen",
    "QualitySeen",
    "Ready",
    "SearchAnswer",
    "ThresholdSeen",
    "VerdictSeen",
    "VerdictsSeen",
]

Decision = Literal["same person", "different people", "not genuine", "cannot tell"]
Fraction = Annotated[float, Field(ge=0, le=1)]

_BOX: JsonDict = {
    "box": [42.1, 30.5, 71.9, 95.0],
    "points": [[60.2, 70.1], [95.7, 69.8], [78.0, 90.3], [63.9, 108.8], [92.6, 108.5]],
    "score": 0.93,
}
_IMAGE: JsonDict = {
    "faces": [_BOX],
    "quality": {"eyes": 35.5, "sharpness": 21.0, "brightness": 128.0, "clipped": 0.01, "turn": 0.05, "tilt": -0.5},
    "genuine": 0.97,
    "problem": None,
}
_MODEL: JsonDict = {"name": "bonaface-1", "fingerprint": "5f2b1c0d9e8a7b6c5d4e3f2a1b0c9d8e"}
_VERDICT: JsonDict = {
    "decision": "same person",
    "reason": "The faces are as alike as two genuine photos of one person.",
    "similarity": -0.04,
    "probability": 0.98,
    "threshold": -0.27,
    "fmr": 0.001,
}


class _Said(BaseModel):
    """Frozen, and of no other members."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FaceSeen(_Said):
    """A face that the detector found, in pixels of the upright image."""

    box: Annotated[list[float], Field(min_length=4, max_length=4, description="x, y, width, height")]
    points: list[list[float]] = Field(description="right eye, left eye, nose tip, right and left mouth corner, as x, y")
    score: Fraction = Field(description="how sure the detector is")


class QualitySeen(_Said):
    """Measures of the largest face."""

    eyes: float = Field(description="distance between the eyes in pixels")
    sharpness: float = Field(description="standard deviation of the Laplacian at 112 px; below about 5 it is blurred")
    brightness: float = Field(description="mean grey value, 0 to 255")
    clipped: Fraction = Field(description="share of pixels that are black or white")
    turn: float = Field(description="0 from the front, about 1 or -1 in profile")
    tilt: float = Field(description="degrees, positive clockwise")


class ImageSeen(_Said):
    """What an image shows."""

    model_config = ConfigDict(json_schema_extra={"example": _IMAGE})

    faces: list[FaceSeen] = Field(description="largest first")
    quality: QualitySeen | None = Field(description="of the largest face")
    genuine: Fraction | None = Field(description="probability that the photo is genuine, where the model judges it")
    problem: str | None = Field(description="why the image can't be used, in one sentence")


class VerdictSeen(_Said):
    """Whether two images show one person, genuinely."""

    model_config = ConfigDict(
        json_schema_extra={"example": _VERDICT | {"first": _IMAGE, "second": _IMAGE, "model": _MODEL["name"]}}
    )

    decision: Decision
    reason: str = Field(description="one sentence in plain words")
    similarity: float | None = Field(description="higher is more alike; the model's own scale")
    probability: Fraction | None = Field(
        description="calibrated, that these are two genuine photos of one person, where that is as likely beforehand as not"
    )
    threshold: float | None = Field(description="similarity from which the decision is 'same person'")
    fmr: float = Field(description="false match rate that the threshold stands for, a fraction")
    first: ImageSeen | None
    second: ImageSeen | None
    model: str


class VerdictsSeen(_Said):
    """Verdicts in the order of the pairs."""

    verdicts: list[VerdictSeen]


class PhotoSeen(_Said):
    """An enrolled photo."""

    photo: str
    enrolled: float = Field(description="seconds since 1970")
    kept: bool = Field(description="whether the image itself was kept")


class NewPhotos(_Said):
    """What was enrolled."""

    model_config = ConfigDict(json_schema_extra={"example": {"person": "ann", "photos": ["0f" * 16], "total": 3}})

    person: str
    photos: list[str] = Field(description="ids, in the order of the files; those that were there already keep theirs")
    total: int = Field(description="photos of the person now")


class PersonSeen(_Said):
    """An enrolled person."""

    person: str
    photos: list[PhotoSeen]


class _PersonLine(_Said):
    """A line of the list."""

    person: str
    photos: int
    enrolled: float = Field(description="when the last photo came, in seconds since 1970")


class PeoplePage(_Said):
    """A part of the list of people."""

    people: list[_PersonLine]
    next: str | None = Field(description="what to send as after for the next part; null at the end")


class PersonVerdict(VerdictSeen):
    """Whether an image shows an enrolled person, genuinely: similarity is to all of their photos, on average."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _VERDICT
            | {"first": _IMAGE, "second": None, "model": _MODEL["name"], "person": "ann", "photos": 3}
        }
    )

    person: str
    photos: int


class Candidate(_Said):
    """Someone found by likeness, by the photo of theirs that is most alike."""

    person: str
    photo: str
    decision: Decision
    reason: str
    similarity: float
    probability: Fraction


class SearchAnswer(_Said):
    """People who are most like a face, best first."""

    candidates: list[Candidate]
    threshold: float
    fmr: float
    false_matches: float = Field(
        description="how many enrolled photos a stranger is expected to match: fmr times their number"
    )
    image: ImageSeen
    model: str


class Erased(_Said):
    """What was deleted."""

    photos: int
    erased: bool = Field(description="false where the disk is still being rewritten: it goes on by itself")


class ThresholdSeen(_Said):
    """A similarity, and the false match rate that it stands for."""

    fmr: float
    threshold: float


class HistogramSeen(_Said):
    """How similar pairs are: counts between edges."""

    pairs: str = Field(description="which pairs")
    edges: list[float]
    same: list[int]
    others: list[int]


class ModelSeen(_Said):
    """The model at work."""

    name: str
    fingerprint: str
    judges_authenticity: bool
    fmr: float = Field(description="of decisions where a request names none")
    thresholds: list[ThresholdSeen]
    histogram: HistogramSeen | None = Field(description="null until it is computed")


class Health(_Said):
    """The process lives."""

    status: Literal["ok"]
    version: str


class Ready(_Said):
    """It can be asked."""

    status: Literal["ready"]
    photos: int | None = Field(description="enrolled; null without a gallery")
    waiting: int = Field(description="images that wait")


class ProblemSeen(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
