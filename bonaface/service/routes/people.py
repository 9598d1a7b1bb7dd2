"""Routes of enrolled people: enrol, list, delete, export."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response

from bonaface.errors import DataError
from bonaface.gallery.enrolment import EmbeddedPhoto, beyond_room, enrol_beside, new_photo, refused_photos
from bonaface.gallery.gallery import Admit, Gallery
from bonaface.gallery.people import PERSON, Enrolled, photo_id
from bonaface.io import integer
from bonaface.service.errors import PROBLEMS, Problem, documented, problem_of
from bonaface.service.routes.verify import Images, PersonId
from bonaface.service.schemas import (
    DeletionResponse,
    EnrolledPhotoResponse,
    EnrolmentResponse,
    EnrolmentsResponse,
    PeopleResponse,
    PersonLine,
    PersonResponse,
    PhotoResponse,
)
from bonaface.service.state import Service, in_thread, service_of
from bonaface.service.uploads import Upload, fields, read_uploads, written

__all__ = ["router"]

router = APIRouter(prefix="/v1/people", tags=["people"])

PhotoId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="a photo's id, as enrolment answers it")]

_COMMON = (
    *("request", "malformed", "encoding", "key", "origin", "too-slow", "too-large", "too-many", "late"),
    *("database", "damaged", "outdated", "replaced", "no-gallery"),
)
_ERASING_SECONDS = 10.0


@router.post(
    "/{person}/photos",
    status_code=201,
    dependencies=[Depends(fields(several=("photos",)))],
    responses=documented(*_COMMON, "image", "photos", "busy", "disk", "audit", "full-person"),
    summary="Enrol photos of a person",
)
async def enrol(request: Request, person: PersonId, photos: Images) -> EnrolmentResponse:
    """Adds photos, all of them or none.

    Refused are photos without a face or with a second one at least an eighth as prominent, of poor quality, classified as fake, or
    unlike the person's others; the answer says which, and why. Sending the same photos again changes nothing.
    """
    service = service_of(request)
    service.gallery()
    names = [f"photo {n}" for n in range(1, len(photos) + 1)]
    uploads = await read_uploads(photos, names, service.settings)
    embedded = await service.pipeline.embed_each(uploads)
    there = await in_thread(lambda: service.gallery().photos_of(person))
    ids = [photo_id(person, upload.data) for upload in uploads]
    _refuse_bad(service, ids, embedded, there)
    return await in_thread(lambda: _enrolled(request, person, uploads, ids, embedded))


def _enrolled(
    request: Request,
    person: str,
    uploads: Sequence[Upload],
    ids: list[str],
    embedded: Sequence[EmbeddedPhoto | DataError],
) -> EnrolmentResponse:
    """Enrol photos that nothing is wrong with, if they are like those that are there when they are written."""
    service = service_of(request)
    every = set(ids)
    new = [
        new_photo(upload.data, photo)
        for upload, photo in zip(uploads, embedded, strict=True)
        if isinstance(photo, EmbeddedPhoto) and photo.embedding is not None  # others were refused, or are there
    ]
    with service.accounting(request, "enrol") as account:

        def admit(there: Sequence[Enrolled]) -> None:
            known = {each.photo for each in there}
            every.update(known)
            if not known.issuperset(ids):
                _refuse_more(service, person, len(every))
            _refuse_bad(service, ids, embedded, there)
            account(person=person, photos=ids)

        service.gallery().enrol(person, new, admit)
    return EnrolmentResponse(person=person, photos=ids, total=len(every))


@router.post(
    "/batch",
    dependencies=[Depends(fields("strict", several=("person", "photos")))],
    responses=documented(*_COMMON, "image", "photos", "busy", "disk", "audit")
    | {207: {"model": EnrolmentsResponse, "description": "Some people were enrolled before the service failed"}},
    summary="Enrol photos of several people in one call",
)
async def enrol_batch(
    request: Request,
    response: Response,
    person: Annotated[list[str], Form(description="whose the n-th photo is")],
    photos: Images,
    strict: Annotated[bool, Form(description="enrol nobody of whom a photo is refused")] = False,
) -> EnrolmentsResponse:
    """Adds the good photos of each person, and says why the others were refused. Sending the same again changes nothing.

    People are enrolled one after another. Where the service fails after some of them, the status is 207, and the photos of the
    others are "failed". Where it fails before anyone is enrolled, the answer is an error.
    """
    service = service_of(request)
    service.gallery()
    if len(person) != len(photos):
        raise Problem("request", f"{len(person)} persons and {len(photos)} photos; expected as many of each")
    for each in person:
        if not re.fullmatch(PERSON, each):
            raise Problem(
                "request", f"person {each[:80]!r}: expected 1 to 64 letters, digits, dots, dashes and underscores"
            )
    uploads = await read_uploads(photos, [f"photo {n}" for n in range(1, len(photos) + 1)], service.settings)
    embedded = await service.pipeline.embed_each(uploads)
    lines: dict[int, EnrolledPhotoResponse] = {}
    for one in dict.fromkeys(person):
        places = [place for place, whose in enumerate(person) if whose == one]
        sent = [(uploads[place], embedded[place]) for place in places]
        attempt = partial(_enrolled_good, request, one, sent, strict)
        try:
            said = await in_thread(partial(enrol_beside, service.gallery(), one, attempt))
        except Exception as error:
            if all(each.status != "enrolled" for each in lines.values()):
                raise
            response.status_code = HTTPStatus.MULTI_STATUS
            lines = _failed(person, one, problem_of(error)) | lines
            break
        lines |= dict(zip(places, said, strict=True))
    return EnrolmentsResponse(photos=[lines[place] for place in sorted(lines)])


def _failed(people: Sequence[str], person: str, problem: Problem) -> dict[int, EnrolledPhotoResponse]:
    """What to say of each photo, by its place, where the service failed at one person and went no further."""
    title = PROBLEMS[problem.kind][1]
    why = f"{title[0].lower()}{title[1:]}; send it again later"
    return {
        place: EnrolledPhotoResponse(
            person=each,
            photo=None,
            status="failed",
            reason=why if each == person else f"was not reached, as the enrolment of {person} failed: {why}",
        )
        for place, each in enumerate(people)
    }


def _enrolled_good(
    request: Request,
    person: str,
    sent: Sequence[tuple[Upload, EmbeddedPhoto | DataError]],
    strict: bool,
    there: Sequence[Enrolled],
    unchanged: Admit,
) -> list[EnrolledPhotoResponse]:
    """Enrol the photos of a person that nothing is wrong with, judged beside those that are there."""
    service = service_of(request)
    ids = [photo_id(person, upload.data) for upload, _ in sent]
    known = {each.photo for each in there}
    refused = refused_photos(ids, [photo for _, photo in sent], there, service.pipeline.calibration)
    refused |= beyond_room(person, ids, refused, there, service.settings.photos)
    good = [place for place, key in enumerate(ids) if key not in known and place not in refused]
    if refused and strict:
        refused |= dict.fromkeys(good, "another photo of the person was refused, and strict takes all or none")
        good = []
    taken = [
        new_photo(upload.data, photo)
        for upload, photo in (sent[place] for place in good)
        if isinstance(photo, EmbeddedPhoto)
    ]
    service.gallery().keep(person, [upload.data for (upload, _), key in zip(sent, ids, strict=True) if key in known])
    if taken:
        with service.accounting(request, "enrol") as account:

            def admit(now_there: Sequence[Enrolled]) -> None:
                unchanged(now_there)
                account(person=person, photos=[ids[n] for n in good])

            service.gallery().enrol(person, taken, admit)
    return [
        EnrolledPhotoResponse(
            person=person,
            photo=None if place in refused else key,
            status="refused" if place in refused else "enrolled" if place in good else "already enrolled",
            reason=refused.get(place, ""),
        )
        for place, key in enumerate(ids)
    ]


@router.get(
    "", dependencies=[Depends(fields("after", "limit"))], responses=documented(*_COMMON), summary="Who is enrolled"
)
async def people(
    request: Request,
    after: Annotated[str, Query(pattern=f"^({PERSON})?$", description="the last person of the part before")] = "",
    limit: Annotated[int, written(integer), Query(ge=1, le=1000)] = 100,
) -> PeopleResponse:
    """Lists people in the order of their ids, part by part."""
    gallery = service_of(request).gallery()
    found = await in_thread(lambda: gallery.people(after, limit))
    lines = [PersonLine(person=each.id, photos=each.photos, enrolled=each.enrolled) for each in found]
    return PeopleResponse(people=lines, next=found[-1].id if len(found) == limit else None)


@router.get(
    "/{person}",
    dependencies=[Depends(fields())],
    responses=documented(*_COMMON, "not-found"),
    summary="A person's photos",
)
async def person(request: Request, person: PersonId) -> PersonResponse:
    """Lists the photos of a person."""
    service = service_of(request)
    gallery, photos = service.gallery(), await service.photos_of(person)
    seen = [
        PhotoResponse(
            photo=each.photo,
            enrolled=each.enrolled,
            kept=gallery.photo_store is not None and each.photo in gallery.photo_store,
        )
        for each in photos
    ]
    return PersonResponse(person=person, photos=seen)


@router.delete(
    "/{person}",
    dependencies=[Depends(fields())],
    responses=documented(*_COMMON, "not-found", "disk", "audit"),
    summary="Delete a person",
)
async def delete_person(request: Request, person: PersonId) -> DeletionResponse:
    """Takes a person out of the database and off the disk."""
    return await _deleted(request, person, None)


@router.delete(
    "/{person}/photos/{photo}",
    dependencies=[Depends(fields())],
    responses=documented(*_COMMON, "not-found", "disk", "audit"),
    summary="Delete one photo",
)
async def delete_photo(request: Request, person: PersonId, photo: PhotoId) -> DeletionResponse:
    """Takes one photo of a person out of the database and off the disk."""
    return await _deleted(request, person, photo)


@router.get(
    "/{person}/export",
    dependencies=[Depends(fields())],
    responses=documented(*_COMMON, "not-found", "audit")
    | {
        200: {
            "description": "A ZIP file",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    response_class=Response,
    summary="All that is stored about a person",
)
async def export(request: Request, person: PersonId) -> Response:
    """A ZIP file of data.json with everything that is stored about a person, and the images where they were kept."""
    service = service_of(request)
    gallery, photos = service.gallery(), await service.photos_of(person)
    archive = await in_thread(lambda: _archive(gallery, person, photos))
    await service.note(request, "export", {"person": person})
    headers = {"Content-Disposition": f'attachment; filename="{person}.zip"'}
    return Response(archive, media_type="application/zip", headers=headers)


async def _deleted(request: Request, person: str, photo: str | None) -> DeletionResponse:
    service = service_of(request)
    gallery = service.gallery()

    def remove() -> int:
        with service.accounting(request, "delete") as account:
            return gallery.remove(person, photo, lambda gone: account(person=person, photo=photo, photos=len(gone)))

    count = await in_thread(remove)
    if not count:
        raise Problem("not-found", f"{person} has no such photo" if photo else f"nobody is enrolled as {person}")
    patience = min(_ERASING_SECONDS, service.settings.seconds / 2)
    return DeletionResponse(photos=count, erased=await in_thread(lambda: gallery.erased(patience)))


def _refuse_more(service: Service, person: str, total: int) -> None:
    most = service.settings.photos
    if total > most:
        raise Problem("full-person", f"{person} would have {total} photos; expected at most {most}")


def _refuse_bad(
    service: Service,
    ids: Sequence[str],
    embedded: Sequence[EmbeddedPhoto | DataError],
    there: Sequence[Enrolled],
) -> None:
    """Refuse photos of a person of which one is bad; those that are enrolled already have been judged."""
    refused = refused_photos(ids, embedded, there, service.pipeline.calibration)
    if refused:
        reasons = [{"photo": place + 1, "reason": why} for place, why in sorted(refused.items())]
        raise Problem(
            "photos", f"{len(refused)} of {len(embedded)} photos were refused, so none was enrolled", photos=reasons
        )


def _archive(gallery: Gallery, person: str, photos: Sequence[Enrolled]) -> bytes:
    entries: list[dict[str, Any]] = []
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for each in photos:
            image = gallery.image(each.photo)
            if image is not None:
                archive.writestr(f"photos/{each.photo}", image)
            entries.append(
                {
                    "photo": each.photo,
                    "enrolled": each.enrolled,
                    "embedding": each.identity.tolist(),
                    "authenticity": each.authenticity,
                    "details": each.details,
                    "image": None if image is None else f"photos/{each.photo}",
                }
            )
        model = {"name": gallery.mark.name, "fingerprint": gallery.mark.fingerprint}
        archive.writestr("data.json", json.dumps({"person": person, "model": model, "photos": entries}, indent=1))
    return written.getvalue()
