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
    assert found == {"/a": (["b", "linked"], ["gone"]), "/a/b": ([], ["1.jpg"]), "/a/linked": ([], ["2.jpg"])}
