"""Routes that compare images: with each other, with an enrolled person, with everyone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Path, Request, UploadFile

from bonaface.errors import DataError
from bonaface.gallery.enrolment import EmbeddedPhoto
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import PERSON
from bonaface.gallery.search import copy_of_enrolled, people_found
from bonaface.inference.verifier import qualified
from bonaface.io import integer, number
from bonaface.service.errors import Problem, documented
from bonaface.service.schemas import (
    CheckResponse,
    FoundResponse,
    PersonVerdictResponse,
    SearchesResponse,
    SearchResponse,
    VerdictResponse,
    VerdictsResponse,
    candidate_responses,
    image_response,
    verdict_response,
)
from bonaface.service.state import Service, in_thread, service_of
from bonaface.service.uploads import fields, read_uploads, written

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["verification"])

ImageArray = Annotated[UploadFile, File(description="JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, HEIC, BMP or GIF")]
Images = Annotated[
    list[UploadFile], File(description="JPEG, PNG, WebP, TIFF, AVIF, JPEG 2000, HEIC, BMP or GIF, several")
]
Fmr = Annotated[
    float | None,
    written(number),
    Form(gt=0, le=1, description="false match rate to decide at, a fraction; one of those that GET /v1/model lists"),
]
Most = Annotated[int, written(integer), Form(ge=1, le=50, description="how many people")]
PersonId = Annotated[str, Path(pattern=f"^{PERSON}$", description="your own id of a person")]

_COMMON = (
    "request",
    "image",
    "malformed",
    "encoding",
    "key",
    "origin",
    "too-slow",
    "too-large",
    "too-many",
    "busy",
    "late",
    "audit",
)


@router.post(
    "/verify",
    dependencies=[Depends(fields("first", "second", "fmr"))],
    responses=documented(*_COMMON),
    summary="Do two images show one person, genuinely?",
)
async def verify(request: Request, first: ImageArray, second: ImageArray, fmr: Fmr = None) -> VerdictResponse:
    """Compares two images.

    An image without a face that can be judged, or with a second one at least half as prominent, gives the decision "cannot tell"
    and the reason. Beside smaller faces the most prominent one is judged, and the reason says so.
    """
    service = service_of(request)
    fmr = service.checked_fmr(fmr)
    uploads = await read_uploads([first, second], ["first image", "second image"], service.settings)
    first_photo, second_photo = await service.pipeline.embed(uploads)
    (verdict,) = _compared(service, [(first_photo, second_photo)], fmr)
    await service.note(request, "verify", {"decision": verdict.decision})
    return verdict


@router.post(
    "/verify/batch",
    dependencies=[Depends(fields("fmr", several=("first", "second")))],
    responses=documented(*_COMMON),
    summary="The same for several pairs in one call",
)
async def verify_batch(request: Request, first: Images, second: Images, fmr: Fmr = None) -> VerdictsResponse:
    """Compares the n-th first with the n-th second image; one that can't be read spoils only its own pair."""
    service = service_of(request)
    fmr = service.checked_fmr(fmr)
    if len(first) != len(second):
        raise Problem("request", f"{len(first)} first and {len(second)} second images; expected as many of each")
    names = [f"{side} image {n}" for side in ("first", "second") for n in range(1, len(first) + 1)]
    uploads = await read_uploads([*first, *second], names, service.settings)
    photos = await service.pipeline.embed_each(uploads)
    verdicts = _compared(service, list(zip(photos[: len(first)], photos[len(first) :], strict=True)), fmr)
    await service.note(request, "verify", *({"decision": each.decision} for each in verdicts))
    return VerdictsResponse(verdicts=verdicts)


@router.post(
    "/check",
    dependencies=[Depends(fields("image"))],
    responses=documented(*_COMMON),
    summary="Can one image be judged, and is it genuine?",
)
async def check(request: Request, image: ImageArray) -> CheckResponse:
    """Judges one image: its faces, their quality, and the probability that it is genuine."""
    service = service_of(request)
    uploads = await read_uploads([image], ["image"], service.settings)
    (photo,) = await service.pipeline.embed(uploads)
    fake = photo.embedding is not None and bool(photo.embedding.called_fake[0])
    await service.note(request, "check", {"called_fake": fake})
    said = image_response(photo)
    return CheckResponse(
        name=photo.photo.name,
        **said.model_dump(),
        called_fake=fake,
        measured_on=None if said.genuine is None else service.pipeline.verifier.measured_on,
        model=service.pipeline.verifier.name,
    )


@router.post(
    "/people/{person}/verify",
    dependencies=[Depends(fields("image", "fmr"))],
    responses=documented(*_COMMON, "not-found", "no-gallery", "database", "damaged", "outdated", "replaced"),
    summary="Does an image show an enrolled person, genuinely?",
)
async def verify_person(
    request: Request, person: PersonId, image: ImageArray, fmr: Fmr = None
) -> PersonVerdictResponse:
    """Compares an image with all photos of a person; a file that is enrolled itself proves nothing, and can't be told."""
    service = service_of(request)
    fmr = service.checked_fmr(fmr)
    photos = await service.photos_of(person)
    uploads = await read_uploads([image], ["image"], service.settings)
    (photo,) = await service.pipeline.embed(uploads)
    verdict = None if photo.embedding is None else service.pipeline.against(photo.embedding, photos, fmr)
    copied = await in_thread(lambda: service.gallery().with_file([person], uploads[0].data))
    if verdict is not None and copied:
        verdict = copy_of_enrolled(verdict)
    verdict = None if verdict is None else qualified(verdict, photo.photo)
    answer = verdict_response(service.pipeline.verifier, verdict, (photo, None), fmr)
    await service.note(request, "verify person", {"person": person, "decision": answer.decision})
    return PersonVerdictResponse(**answer.model_dump(), person=person, photos=len(photos))


@router.post(
    "/search",
    dependencies=[Depends(fields("image", "k", "fmr"))],
    responses=documented(*_COMMON, "no-gallery", "database", "damaged", "outdated", "replaced"),
    summary="Which enrolled people does an image show?",
)
async def search(request: Request, image: ImageArray, k: Most = 5, fmr: Fmr = None) -> SearchResponse:
    """Finds the people who are most like a face. Of whom the file itself is enrolled, nothing can be told.

    The false match rate is that of one comparison: among many people a stranger matches someone more often.
    """
    service = service_of(request)
    fmr = service.checked_fmr(fmr)
    gallery = service.gallery()
    uploads = await read_uploads([image], ["image"], service.settings)
    (photo,) = await service.pipeline.embed(uploads)
    if photo.embedding is None:
        raise Problem("image", photo.photo.problem or "the image shows no face")
    found = await in_thread(partial(_found, service, gallery, uploads[0].data, photo, k, fmr))
    count = await in_thread(gallery.count)
    await service.note(request, "search", _noted(found))
    return SearchResponse(
        candidates=found.candidates,
        threshold=service.pipeline.verifier.threshold(fmr).threshold,
        fmr=fmr,
        false_matches=fmr * count,
        image=image_response(photo),
        model=service.pipeline.verifier.name,
    )


@router.post(
    "/search/batch",
    dependencies=[Depends(fields("k", "fmr", several=("images",)))],
    responses=documented(*_COMMON, "no-gallery", "database", "damaged", "outdated", "replaced"),
    summary="The same for several images in one call",
)
async def search_batch(request: Request, images: Images, k: Most = 5, fmr: Fmr = None) -> SearchesResponse:
    """Finds people for each image; one that can't be judged spoils only its own result."""
    service = service_of(request)
    fmr = service.checked_fmr(fmr)
    gallery = service.gallery()
    names = [f"image {n}" for n in range(1, len(images) + 1)]
    uploads = await read_uploads(images, names, service.settings)
    photos = await service.pipeline.embed_each(uploads)
    results = [
        await in_thread(partial(_found, service, gallery, upload.data, photo, k, fmr))
        for upload, photo in zip(uploads, photos, strict=True)
    ]
    count = await in_thread(gallery.count)
    await service.note(request, "search", *map(_noted, results))
    return SearchesResponse(
        results=results,
        threshold=service.pipeline.verifier.threshold(fmr).threshold,
        fmr=fmr,
        false_matches=fmr * count,
        model=service.pipeline.verifier.name,
    )


def _found(
    service: Service, gallery: Gallery, data: bytes, photo: EmbeddedPhoto | DataError, k: int, fmr: float
) -> FoundResponse:
    if isinstance(photo, DataError):
        return FoundResponse(candidates=[], problem=str(photo), image=None)
    if photo.embedding is None:
        problem = photo.photo.problem or "the image shows no face"
        return FoundResponse(candidates=[], problem=problem, image=image_response(photo))
    found = people_found(service.pipeline.verifier, gallery, photo, data, k, fmr)
    return FoundResponse(candidates=candidate_responses(found), problem=None, image=image_response(photo))


def _noted(found: FoundResponse) -> dict[str, list[str]]:
    """What the audit log has of a search by one image."""
    return {
        "people": [each.person for each in found.candidates],
        "decisions": [each.decision for each in found.candidates],
    }


def _compared(
    service: Service, pairs: Sequence[tuple[EmbeddedPhoto | DataError, EmbeddedPhoto | DataError]], fmr: float
) -> list[VerdictResponse]:
    """Verdicts of pairs; of those that can't be judged, why."""
    usable = {
        place: (a, b)
        for place, (a, b) in enumerate(pairs)
        if isinstance(a, EmbeddedPhoto)
        and isinstance(b, EmbeddedPhoto)
        and a.embedding is not None
        and b.embedding is not None
    }
    verdicts = service.pipeline.compare_photos(list(usable.values()), fmr) if usable else []
    judged = dict(zip(usable, verdicts, strict=True))
    return [
        verdict_response(service.pipeline.verifier, judged.get(place), pair, fmr) for place, pair in enumerate(pairs)
    ]
