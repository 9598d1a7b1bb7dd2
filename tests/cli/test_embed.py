"""``bonaface embed`` as a user gives it, on a Ray of this machine."""

import numpy as np
import onnx
import pandas as pd
import pytest
from tiny_networks import write_network

from bonaface.cli.embed import main
from bonaface.errors import BonafaceError, ConfigError, DataError
from bonaface.inference.embedder import load_embedder

pytest.importorskip("ray")

__all__ = ["write_network"]


@pytest.mark.usefixtures("ray_here")
def test_a_folder_of_people_becomes_a_table_once(run_folder, make_people, tmp_path, capfd):
    people = make_people(people=3)
    (people / "images" / "00000001" / "2.png").write_bytes(b"<html>404</html>")
    out = tmp_path / "faces.parquet"
    words = [str(people), "--out", str(out), "--model", str(run_folder), "--workers", "1"]
    assert main(words) == 1
    said = capfd.readouterr().err
    assert "21 images; shards: 1, done before: 0" in said
    assert f"{out}: 20 images embedded in " in said
    assert said.rstrip().endswith("; 1 can't be used")
    table = pd.read_parquet(out)
    path = "images/00000002/6.png"
    own = load_embedder(str(run_folder), device="cpu").embed([people / path]).distinct
    np.testing.assert_allclose(table.set_index("path").loc[path, "embedding"], own.identity[0], atol=1e-5)
    assert main(words) == 1  # what can't be used stays so
    assert "shards: 1, done before: 1; 1 of their images can't be used" in capfd.readouterr().err
    (part,) = out.glob("part-*.parquet")
    assert part.stat().st_mode & 0o777 == 0o600
    part.write_bytes(b"")
    assert main(words) == 1  # an empty part is made again
    assert "done before: 0" in capfd.readouterr().err
    pd.testing.assert_frame_equal(pd.read_parquet(out), table)


@pytest.mark.usefixtures("ray_here")
def test_what_a_worker_refuses_is_said_in_one_sentence(write_network, make_people, tmp_path):
    file = write_network(tmp_path / "net.onnx")
    network = onnx.load(file)
    for weights in network.graph.initializer:
        if weights.name == "fc":
            weights.CopyFrom(onnx.numpy_helper.from_array(np.full((32, 4), np.nan, np.float32), "fc"))
    onnx.save(network, file)
    words = [str(make_people(people=3)), "--out", str(tmp_path / "out"), "--model", str(file), "--workers", "1"]
    with pytest.raises(DataError, match=r"^net: gave an embedding that is not finite; expected [^\n]*$"):
        main(words)


def test_no_workers(tmp_path):
    with pytest.raises(ConfigError, match="--workers: expected at least 1, got 0"):
        main([str(tmp_path), "--out", str(tmp_path / "x"), "--workers", "0"])


def test_a_table_goes_into_a_folder(run_folder, tmp_path):
    (tmp_path / "table.csv").write_text("path\nx.png\n")
    with pytest.raises(BonafaceError, match=r"table.csv: is a file; expected a folder of images; a table"):
        main([str(tmp_path / "table.csv"), "--out", str(tmp_path / "x.npz"), "--model", str(run_folder)])
