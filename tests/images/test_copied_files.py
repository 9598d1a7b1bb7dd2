"""Two files are copies where their faces are alike, and not where a frame around them is."""

from PIL import Image

from bonaface.images.copied_files import CopiedFiles
from bonaface.images.copies import perceptual_hash
from bonaface.images.decoding import decode


def test_people_in_one_frame_are_no_copies(one_frame, tmp_path):
    ann, bob, copy = one_frame("ann"), one_frame("bob"), tmp_path / "copy.png"
    with Image.open(ann) as image:
        image.resize((640, 360)).save(copy)
    assert (perceptual_hash(decode(ann)) ^ perceptual_hash(decode(bob))).bit_count() <= 2
    are_copies = CopiedFiles()
    assert not are_copies(ann, bob)
    assert are_copies(ann, copy)
    assert are_copies(copy, ann)


def test_images_without_a_face_are_compared_as_a_whole(write_image, tmp_path):
    image, other, copy = write_image(tmp_path / "a.png", 64), write_image(tmp_path / "b.png", 64), tmp_path / "c.jpg"
    with Image.open(image) as opened:
        opened.save(copy, quality=90)
    are_copies = CopiedFiles()
    assert are_copies(image, copy)
    assert not are_copies(image, other)
    assert not are_copies(image, tmp_path / "none.png")
