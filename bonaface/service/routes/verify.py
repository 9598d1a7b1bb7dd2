"""Routes that compare images: with each other, with an enrolled person, with everyone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, File, Form, Path, Request, UploadFile

from bonaface.errors import DataError
from bonaface.gallery.people import PERSON
from bonaface.service.errors import Problem, documented
from bonaface.service.pipeline import Look
from bonaface.service.schemas import Candidate, PersonVerdict, SearchAnswer, VerdictSeen, VerdictsSeen
from bonaface.service.state import Service, image_seen, rate_of, service_of, verdict_seen
from bonaface.service.uploads import read_uploads

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["verification"])

ImageArray = Annotated[UploadFile, File(description="JPEG, PNG, WebP, BMP or GIF")]
Images = Annotated[list[UploadFile], File(description="JPEG, PNG, WebP, BMP or GIF, several")]
Fmr = Annotated[
    float | None,
    Form(gt=0, le=1, description="false match rate to decide at, a fraction; one of those that GET /v1/model lists"),
]
PersonId = Annotated[str, Path(pattern=f"^{PERSON}$", description="your own id of a person")]

_COMMON = ("request", "image", "key", "origin", "too-slow", "too-large", "too-many", "busy", "late")


@router.post("/verify", responses=documented(*_COMMON), summary="Do two images show one person, genuinely?")
async def verify(request: Request, first: ImageArray, second: ImageArray, fmr: Fmr = None) -> VerdictSeen:
    """Compares two images.

    An image without exactly one face that can be judged gives the decision "cannot tell" and the reason.
    """
    service = service_of(request)
    rate = rate_of(service, fmr)
    uploads = await read_uploads([first, second], ["first image", "second image"], service.settings)
    looks = await service.desk.look(uploads)
    said = await _compared(service, [(looks[0], looks[1])], rate)
    service.note(request, "verify", decision=said[0].decision)
    return said[0]


@router.post("/verify/batch", responses=documented(*_COMMON), summary="The same for several pairs in one call")
async def verify_batch(request: Request, first: Images, second: Images, fmr: Fmr = None) -> VerdictsSeen:
    """Compares the n-th first with the n-th second image; one that can't be read spoils only its own pair."""
    service = service_of(request)
    rate = rate_of(service, fmr)
    if len(first) != len(second):
        raise Problem("request", f"{len(first)} first and {len(second)} second images; expected as many of each")
    names = [f"{side} image {n}" for side in ("first", "second") for n in range(1, len(first) + 1)]
    uploads = await read_uploads([*first, *second], names, service.settings)
    looks = await service.desk.look_at_each(uploads)
    said = await _compared(service, list(zip(looks[: len(first)], looks[len(first) :], strict=True)), rate)
    for each in said:
        service.note(request, "verify", decision=each.decision)
    return VerdictsSeen(verdicts=said)


@router.post(
    "/people/{person}/verify",
    responses=documented(*_COMMON, "not-found", "no-gallery", "database"),
    summary="Does an image show an enrolled person, genuinely?",
)
async def verify_person(request: Request, person: PersonId, image: ImageArray, fmr: Fmr = None) -> PersonVerdict:
    """Compares an image with all photos of a person."""
    service = service_of(request)
    rate = rate_of(service, fmr)
    photos = await service.photos_of(person)
    uploads = await read_uploads([image], ["image"], service.settings)
    look = (await service.desk.look(uploads))[0]
    verdict = None if look.embedding is None else service.desk.against(look.embedding, photos, rate)
    seen = verdict_seen(service, verdict, (look, None), rate)
    service.note(request, "verify person", person=person, decision=seen.decision)
    return PersonVerdict(**seen.model_dump(), person=person, photos=len(photos))


@router.post(
    "/search",
    responses=documented(*_COMMON, "no-gallery", "database"),
    summary="Which enrolled people does an image show?",
)
async def search(
    request: Request, image: ImageArray, k: Annotated[int, Form(ge=1, le=50)] = 5, fmr: Fmr = None
) -> SearchAnswer:
    """Finds the people who are most like a face.

    The false match rate is that of one comparison: among many people a stranger matches someone more often.
    """
    service = service_of(request)
    rate = rate_of(service, fmr)
    gallery = service.gallery()
    uploads = await read_uploads([image], ["image"], service.settings)
    look = (await service.desk.look(uploads))[0]
    if look.embedding is None:
        raise Problem("image", look.photo.problem or "the image shows no face")
    identity = look.embedding.identity[0]
    hits = await service.in_gallery(lambda: gallery.search(identity, k))
    count = await service.in_gallery(gallery.count)
    verdicts = service.desk.candidates(look.embedding, hits, rate)
    service.note(request, "search", people=[hit.person for hit in hits], decisions=[each.decision for each in verdicts])
    best_first = sorted(zip(hits, verdicts, strict=True), key=lambda found: -found[1].similarity)
    return SearchAnswer(
        candidates=[
            Candidate(
                person=hit.person,
                photo=hit.photo,
                decision=verdict.decision,
                reason=verdict.reason,
                similarity=verdict.similarity,
                probability=verdict.probability,
            )
            for hit, verdict in best_first
        ],
        threshold=service.desk.verifier.threshold(rate).threshold,
        fmr=rate,
        false_matches=rate * count,
        image=image_seen(look),
        model=service.desk.verifier.name,
    )


async def _compared(
    service: Service, pairs: Sequence[tuple[Look | DataError, Look | DataError]], rate: float
) -> list[VerdictSeen]:
    """Verdicts of pairs; of those that can't be judged, why."""
    usable = [
        (place, a.embedding, b.embedding)
        for place, (a, b) in enumerate(pairs)
        if isinstance(a, Look) and isinstance(b, Look) and a.embedding is not None and b.embedding is not None
    ]
    verdicts = service.desk.compare([a for _, a, _ in usable], [b for _, _, b in usable], rate) if usable else []
    judged = {place: verdict for (place, _, _), verdict in zip(usable, verdicts, strict=True)}
    return [verdict_seen(service, judged.get(place), pair, rate) for place, pair in enumerate(pairs)]
