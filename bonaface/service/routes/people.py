"""Routes of enrolled people: enrol, list, delete, export."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from bonaface.errors import DataError
from bonaface.gallery.enrolment import poor, refusals
from bonaface.gallery.gallery import Gallery
from bonaface.gallery.people import PERSON, Enrolled, NewPhoto, photo_id, stacked
from bonaface.service.errors import Problem, documented
from bonaface.service.pipeline import Look
from bonaface.service.routes.verify import Images, PersonId
from bonaface.service.schemas import Erased, NewPhotos, PeoplePage, PersonSeen, PhotoSeen
from bonaface.service.state import Service, image_seen, plain, service_of
from bonaface.service.uploads import Upload, read_uploads

__all__ = ["router"]

router = APIRouter(prefix="/v1/people", tags=["people"])

PhotoId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="a photo's id, as enrolment answers it")]

_COMMON = ("request", "key", "origin", "too-slow", "too-large", "too-many", "late", "database", "no-gallery")
_ERASING_SECONDS = 10.0


@router.post(
    "/{person}/photos",
    status_code=201,
    responses=documented(*_COMMON, "image", "photos", "busy", "disk", "full-person"),
    summary="Enrol photos of a person",
)
async def enrol(request: Request, person: PersonId, photos: Images) -> NewPhotos:
    """Adds photos, all of them or none.

    Refused are photos without exactly one face, of poor quality, that look forged, or unlike the person's others; the answer
    says which, and why. Sending the same photos again changes nothing.
    """
    service = service_of(request)
    gallery = service.gallery()
    names = [f"photo {n}" for n in range(1, len(photos) + 1)]
    uploads = await read_uploads(photos, names, service.settings)
    looks = await service.desk.look_at_each(uploads)
    there = await service.in_gallery(lambda: gallery.photos_of(person))
    _refuse_more(service, person, uploads, there)
    _refuse_bad(service, person, uploads, looks, there)
    new = [_new(service, upload, look) for upload, look in zip(uploads, looks, strict=True)]
    ids = await service.in_gallery(lambda: gallery.enrol(person, new))
    service.note(request, "enrol", person=person, photos=ids)
    return NewPhotos(person=person, photos=ids, total=len({*ids, *(each.photo for each in there)}))


@router.get("", responses=documented(*_COMMON), summary="Who is enrolled")
async def people(
    request: Request,
    after: Annotated[str, Query(pattern=f"^({PERSON})?$", description="the last person of the part before")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> PeoplePage:
    """Lists people in the order of their ids, part by part."""
    gallery = service_of(request).gallery()
    found = await service_of(request).in_gallery(lambda: gallery.people(after, limit))
    lines = [{"person": each.id, "photos": each.photos, "enrolled": each.enrolled} for each in found]
    return PeoplePage.model_validate({"people": lines, "next": found[-1].id if len(found) == limit else None})


@router.get("/{person}", responses=documented(*_COMMON, "not-found"), summary="A person's photos")
async def person(request: Request, person: PersonId) -> PersonSeen:
    """Lists the photos of a person."""
    service = service_of(request)
    gallery, photos = service.gallery(), await service.photos_of(person)
    seen = [
        PhotoSeen(
            photo=each.photo,
            enrolled=each.enrolled,
            kept=gallery.photo_store is not None and each.photo in gallery.photo_store,
        )
        for each in photos
    ]
    return PersonSeen(person=person, photos=seen)


@router.delete("/{person}", responses=documented(*_COMMON, "not-found", "disk"), summary="Delete a person")
async def delete_person(request: Request, person: PersonId) -> Erased:
    """Takes a person out of the database and off the disk."""
    return await _deleted(request, person, None)


@router.delete(
    "/{person}/photos/{photo}", responses=documented(*_COMMON, "not-found", "disk"), summary="Delete one photo"
)
async def delete_photo(request: Request, person: PersonId, photo: PhotoId) -> Erased:
    """Takes one photo of a person out of the database and off the disk."""
    return await _deleted(request, person, photo)


@router.get(
    "/{person}/export",
    responses=documented(*_COMMON, "not-found")
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
    archive = await service.in_gallery(lambda: _archive(service, gallery, person, photos))
    service.note(request, "export", person=person)
    headers = {"Content-Disposition": f'attachment; filename="{person}.zip"'}
    return Response(archive, media_type="application/zip", headers=headers)


async def _deleted(request: Request, person: str, photo: str | None) -> Erased:
    service = service_of(request)
    gallery = service.gallery()
    count = await service.in_gallery(lambda: gallery.remove(person, photo))
    if not count:
        raise Problem("not-found", f"{person} has no such photo" if photo else f"nobody is enrolled as {person}")
    erased = await service.in_gallery(lambda: gallery.erased(_ERASING_SECONDS))
    service.note(request, "delete", person=person, photos=count, photo=photo, erased=erased)
    return Erased(photos=count, erased=erased)


def _refuse_more(service: Service, person: str, uploads: Sequence[Upload], there: Sequence[Enrolled]) -> None:
    ids = {photo_id(person, upload.data) for upload in uploads} | {each.photo for each in there}
    if len(ids) > service.settings.photos:
        raise Problem(
            "full-person", f"{person} would have {len(ids)} photos; expected at most {service.settings.photos}"
        )


def _refuse_bad(
    service: Service,
    person: str,
    uploads: Sequence[Upload],
    looks: Sequence[Look | DataError],
    there: Sequence[Enrolled],
) -> None:
    calibration = service.desk.verifier.embedder.calibration
    assert calibration is not None  # noqa: S101 - the desk has seen to it
    new = {photo_id(person, upload.data) for upload in uploads}
    others = [each for each in there if each.photo not in new]  # one that is sent again is not compared with itself
    refused = refusals(
        [
            str(look) if isinstance(look, DataError) else look.photo.problem or poor(look.photo.quality)
            for look in looks
        ],
        [None if isinstance(look, DataError) else look.embedding for look in looks],
        stacked(others) if others else None,
        calibration,
    )
    if refused:
        reasons = [{"photo": place + 1, "reason": why} for place, why in sorted(refused.items())]
        raise Problem(
            "photos", f"{len(refused)} of {len(looks)} photos were refused, so none was enrolled", photos=reasons
        )


def _new(service: Service, upload: Upload, look: Look | DataError) -> NewPhoto:
    assert isinstance(look, Look)  # noqa: S101 - others were refused
    assert look.embedding is not None  # noqa: S101
    odds = look.embedding.authenticity
    details = {"quality": plain(look.photo.quality), "genuine": plain(image_seen(look).genuine)}
    return NewPhoto(upload.data, look.embedding.identity[0], None if odds is None else float(odds[0]), details)


def _archive(service: Service, gallery: Gallery, person: str, photos: Sequence[Enrolled]) -> bytes:
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
