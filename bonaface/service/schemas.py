"""Answers of the service, as OpenAPI describes them, and how they are built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from bonaface.errors import DataError
from bonaface.gallery.enrolment import EmbeddedPhoto
from bonaface.gallery.people import Hit, plain
from bonaface.inference.verifier import Verifier
from bonaface.verification.decision import Verdict

__all__ = [
    "CandidateResponse",
    "CheckResponse",
    "DeletionResponse",
    "EnrolledPhotoResponse",
    "EnrolmentResponse",
    "EnrolmentsResponse",
    "FaceResponse",
    "FoundResponse",
    "HealthResponse",
    "HistogramResponse",
    "ImageResponse",
    "ModelResponse",
    "PeopleResponse",
    "PersonLine",
    "PersonResponse",
    "PersonVerdictResponse",
    "PhotoResponse",
    "ProblemResponse",
    "QualityResponse",
    "ReadyResponse",
    "SearchResponse",
    "SearchesResponse",
    "ThresholdResponse",
    "VerdictResponse",
    "VerdictsResponse",
    "candidate_responses",
    "image_response",
    "verdict_response",
]

Decision = Literal["same person", "different people", "not genuine", "cannot tell"]
Fraction = Annotated[float, Field(ge=0, le=1)]
OfAHundred = Annotated[float, Field(ge=0, le=100)]
FalseMatches = Annotated[
    float,
    Field(description="how many enrolled photos a stranger is expected to match: fmr times their number"),
]

_MEASURED = ("similarity", "probability", "score")
_BOX: JsonDict = {
    "box": [42.1, 30.5, 71.9, 95.0],
    "points": [[60.2, 70.1], [95.7, 69.8], [78.0, 90.3], [63.9, 108.8], [92.6, 108.5]],
    "score": 0.93,
}
_IMAGE: JsonDict = {
    "faces": [_BOX],
    "quality": {
        "eyes": 35.5,
        "sharpness": 21.0,
        "brightness": 128.0,
        "clipped": 0.01,
        "turn": 0.05,
        "tilt": -0.5,
        "eyes_covered": 0.01,
        "mouth_covered": 0.01,
        "rotated": 0,
        "beside": 0.0,
        "size": [160, 160],
    },
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
    "score": 92.0,
    "threshold_score": 81.7,
    "fmr": 0.001,
}


class _Response(BaseModel):
    """Frozen, and of no other members."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FaceResponse(_Response):
    """A face that the detector found, in pixels of the upright image, whose size is with the quality."""

    box: Annotated[list[float], Field(min_length=4, max_length=4, description="x, y, width, height")]
    points: list[list[float]] = Field(description="right eye, left eye, nose tip, right and left mouth corner, as x, y")
    score: Fraction = Field(description="how sure the detector is")


class QualityResponse(_Response):
    """Measures of the largest face."""

    eyes: float = Field(description="distance between the eyes in pixels of the image of this size")
    sharpness: float = Field(description="standard deviation of the Laplacian at 112 px; below about 5 it is blurred")
    brightness: float = Field(description="mean grey value, 0 to 255")
    clipped: Fraction = Field(description="share of pixels that are black or white")
    turn: float = Field(description="0 from the front, about 1 or -1 in profile")
    tilt: float = Field(description="degrees, positive clockwise")
    eyes_covered: Fraction = Field(description="probability that something covers the eyes, sunglasses included")
    mouth_covered: Fraction = Field(description="probability that something covers the mouth")
    rotated: int = Field(
        description="degrees by which the image was rotated clockwise; boxes and points are in pixels of that"
    )
    beside: Fraction = Field(
        description="prominence of the next face as a share of this one's: not judged from 0.5 on, not enrolled from 0.125 on"
    )
    size: list[int] = Field(
        description="width and height of the image that boxes and points are in pixels of: upright, and of more than 40 megapixels "
        "at a half, a quarter or an eighth of its scale"
    )


class ImageResponse(_Response):
    """What an image shows."""

    model_config = ConfigDict(json_schema_extra={"example": _IMAGE})

    faces: list[FaceResponse] = Field(description="largest first")
    quality: QualityResponse | None = Field(description="of the largest face")
    genuine: Fraction | None = Field(description="probability that the photo is genuine, where the model judges it")
    problem: str | None = Field(description="why the image can't be used, in one sentence")


class CheckResponse(ImageResponse):
    """What the model says of one photo, as ``bonaface check`` does."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "image",
                **_IMAGE,
                "called_fake": False,
                "measured_on": "validation photos of the training",
                "model": _MODEL["name"],
            }
        }
    )

    name: str
    called_fake: bool = Field(description="classified as a deepfake at the model's threshold")
    measured_on: str | None = Field(description="what genuine was measured on; null where it is null")
    model: str


class VerdictResponse(_Response):
    """Whether two images show one person, genuinely."""

    model_config = ConfigDict(
        json_schema_extra={"example": _VERDICT | {"first": _IMAGE, "second": _IMAGE, "model": _MODEL["name"]}}
    )

    decision: Decision
    reason: str = Field(description="one sentence in plain words")
    similarity: float | None = Field(description="higher is more alike; the model's own scale")
    probability: Fraction | None = Field(
        description="calibrated, that these are two genuine photos of one person, where that is as likely beforehand as not; of "
        "one person, whoever made the photos, where the model does not judge authenticity"
    )
    threshold: float | None = Field(description="similarity from which the decision is 'same person'")
    score: OfAHundred | None = Field(description="the similarity from 0 to 100, to show to people")
    threshold_score: OfAHundred | None = Field(description="the threshold on that scale")
    fmr: float = Field(description="false match rate that the threshold stands for, a fraction")
    first: ImageResponse | None
    second: ImageResponse | None
    model: str


class VerdictsResponse(_Response):
    """Verdicts in the order of the pairs."""

    verdicts: list[VerdictResponse]


class PhotoResponse(_Response):
    """An enrolled photo."""

    photo: str
    enrolled: float = Field(description="seconds since 1970")
    kept: bool = Field(description="whether the image itself was kept")


class EnrolmentResponse(_Response):
    """What was enrolled."""

    model_config = ConfigDict(json_schema_extra={"example": {"person": "ann", "photos": ["0f" * 16], "total": 3}})

    person: str
    photos: list[str] = Field(description="ids, in the order of the files; those that were there already keep theirs")
    total: int = Field(description="photos of the person now")


class PersonResponse(_Response):
    """An enrolled person."""

    person: str
    photos: list[PhotoResponse]


class PersonLine(_Response):
    """A line of the list."""

    person: str
    photos: int
    enrolled: float = Field(description="when the last photo came, in seconds since 1970")


class PeopleResponse(_Response):
    """A part of the list of people."""

    people: list[PersonLine]
    next: str | None = Field(description="what to send as after for the next part; null at the end")


class PersonVerdictResponse(VerdictResponse):
    """Whether an image shows an enrolled person, genuinely: similarity is to all of their photos, on average."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": _VERDICT
            | {"first": _IMAGE, "second": None, "model": _MODEL["name"], "person": "ann", "photos": 3}
        }
    )

    person: str
    photos: int


class CandidateResponse(_Response):
    """Someone found by likeness, by the photo of theirs that is most alike."""

    person: str
    photo: str
    decision: Decision
    reason: str
    similarity: float
    probability: Fraction


class SearchResponse(_Response):
    """People who are most like a face, best first."""

    candidates: list[CandidateResponse]
    threshold: float
    fmr: float
    false_matches: FalseMatches
    image: ImageResponse
    model: str


class FoundResponse(_Response):
    """Whom one of many images shows, best first."""

    candidates: list[CandidateResponse]
    problem: str | None = Field(description="why the image can't be searched by; there are no candidates then")
    image: ImageResponse | None = Field(description="null where it can't be read")


class SearchesResponse(_Response):
    """Whom images show, in their order."""

    results: list[FoundResponse]
    threshold: float
    fmr: float
    false_matches: FalseMatches
    model: str


class EnrolledPhotoResponse(_Response):
    """What became of a photo."""

    person: str
    photo: str | None = Field(description="its id; null where it was refused or failed")
    status: Literal["enrolled", "already enrolled", "refused", "failed"] = Field(
        description="failed: the service could not enrol it, or did not come to it, through no fault of the photo"
    )
    reason: str = Field(description="why it was refused or failed, or nothing")


class EnrolmentsResponse(_Response):
    """What became of photos of several people, in the order of the files."""

    photos: list[EnrolledPhotoResponse]


class DeletionResponse(_Response):
    """What was deleted."""

    photos: int
    erased: bool = Field(description="false where the disk is still being rewritten: it goes on by itself")


class ThresholdResponse(_Response):
    """A similarity, and the false match rate that it stands for."""

    fmr: float
    threshold: float


class HistogramResponse(_Response):
    """How similar pairs are: counts between edges."""

    pairs: str = Field(description="which pairs")
    edges: list[float]
    same: list[int]
    others: list[int]


class ModelResponse(_Response):
    """The model at work."""

    name: str
    fingerprint: str
    judges_authenticity: bool
    fmr: float = Field(description="of decisions where a request names none")
    thresholds: list[ThresholdResponse]
    histogram: HistogramResponse | None = Field(description="null until it is computed")


class HealthResponse(_Response):
    """The process lives."""

    status: Literal["ok"]
    version: str


class ReadyResponse(_Response):
    """It can be asked."""

    status: Literal["ready"]


class ProblemResponse(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None


def image_response(look: EmbeddedPhoto) -> ImageResponse:
    """Content of an image, in the API's form."""
    photo, embedding = look.photo, look.embedding
    genuine = None if embedding is None else embedding.genuine
    return ImageResponse(
        faces=[
            FaceResponse(box=plain(face.box), points=plain(face.points), score=min(1.0, face.score))
            for face in photo.faces
        ],
        quality=None if photo.quality is None else QualityResponse(**plain(photo.quality)),
        genuine=None if genuine is None else float(genuine[0]),
        problem=photo.problem,
    )


def candidate_responses(found: Sequence[tuple[Hit, Verdict]]) -> list[CandidateResponse]:
    """People found and the verdicts on them, in their order."""
    return [
        CandidateResponse(
            person=hit.person,
            photo=hit.photo,
            decision=verdict.decision,
            reason=verdict.reason,
            similarity=verdict.similarity,
            probability=verdict.probability,
        )
        for hit, verdict in found
    ]


def verdict_response(
    verifier: Verifier, verdict: Verdict | None, pair: Sequence[EmbeddedPhoto | DataError | None], fmr: float
) -> VerdictResponse:
    """A verdict in the API's form; without one, "cannot tell" and what is wrong with the images."""
    seen = [image_response(each) if isinstance(each, EmbeddedPhoto) else None for each in pair]
    threshold = verifier.threshold(fmr).threshold
    validation = verifier.embedder.validation
    if verdict is None:
        reasons = [
            str(each) if isinstance(each, DataError) else each.photo.problem for each in pair if each is not None
        ]
        reason = "; ".join(why for why in reasons if why) or "the images can't be judged"
        values: dict[str, Any] = dict.fromkeys(_MEASURED) | {"decision": "cannot tell", "reason": reason}
    else:
        values = {name: getattr(verdict, name) for name in ("decision", "reason", *_MEASURED)}
        threshold = verdict.threshold
    return VerdictResponse(
        **values,
        threshold=threshold,
        threshold_score=None if validation is None else validation.score(threshold),
        fmr=fmr,
        first=seen[0],
        second=seen[1],
        model=verifier.name,
    )
