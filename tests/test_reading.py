from bonaface.data.layouts import images_below
from bonaface.reading import walk_folder


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path):
    for name in ("a/b/1.jpg", "elsewhere/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "elsewhere" / "itself").symlink_to(".")
    (tmp_path / "a" / "gone").symlink_to("nowhere")
    found = {
        folder.removeprefix(str(tmp_path)): (folders, files) for folder, folders, files in walk_folder(tmp_path / "a")
    }
    assert found == {"/a": (["b", "linked"], ["gone"]), "/a/b": ([], ["1.jpg"]), "/a/linked": (["itself"], ["2.jpg"])}


def test_folders_elsewhere_that_link_to_each_other_are_walked_through_once(tmp_path):
    for name in "abc":
        (tmp_path / "outside" / name).mkdir(parents=True)
        (tmp_path / "outside" / name / f"{name}.jpg").touch()
    for name in "abc":
        for other in "abc":
            (tmp_path / "outside" / name / f"to-{other}").symlink_to(tmp_path / "outside" / other)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "outside" / "a")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / ".old").symlink_to(tmp_path / "outside" / "a")
    assert sorted(file for *_, files in walk_folder(tmp_path / "in") for file in files) == ["a.jpg", "b.jpg", "c.jpg"]
    assert sorted(path.name for path in images_below(tmp_path / "in")) == ["a.jpg", "b.jpg", "c.jpg"]
    assert images_below(tmp_path / "in")[0].parts[-2] == "link", "what is hidden takes nothing from what is shown"
