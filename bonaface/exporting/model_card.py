"""The model card that an exported model carries: what it is, what it was measured on, where to look further."""

from __future__ import annotations

from pathlib import Path

from bonaface.errors import DataError, ModelError
from bonaface.inference.backends.exported import ExportedNetwork
from bonaface.inference.embedder import Embedder
from bonaface.io import parse_json
from bonaface.reading import read_regular_text

__all__ = ["card_of", "model_card"]

_FIGURES = {
    "challenge_eer": "against all others",
    "sv_eer": "against other people",
    "spf_eer": "against deepfakes of the same person",
    "other_fake_eer": "against deepfakes of other people",
}


def card_of(embedder: Embedder, model: str | None) -> str:
    """The card of a model that was loaded: the one that it carries, or as :func:`model_card` writes it.

    Args:
        embedder: the model.
        model: what it was loaded from; None for the one that comes with the package.

    Raises:
        DataError, ModelError: as :func:`model_card` does.
    """
    if isinstance(embedder.network, ExportedNetwork):
        return embedder.network.description.card
    return model_card(Path(model or embedder.name))


def model_card(model: Path) -> str:
    """The card of a model, Markdown: ``card.md`` of a run's folder where somebody wrote one, else what the folder tells.

    Args:
        model: folder of a run, or an ONNX file.

    Raises:
        DataError: if card.md is no text.
        ModelError: if the run's figures are damaged.
    """
    written = model / "card.md"
    if written.is_file():
        try:
            return read_regular_text(written)
        except UnicodeDecodeError as error:
            raise DataError(f"{written}: expected a text in UTF-8") from error
    lines = [
        f"# {model.stem if model.is_file() else model.name}",
        "",
        "A face verification model, exported by bonaface.",
    ]
    if (model / "metrics.json").is_file():
        lines += ["", *_figures(model / "metrics.json")]
    if (model / "config.yaml").is_file():
        settings = read_regular_text(model / "config.yaml").rstrip()
        lines += ["", "## Settings", "", "```yaml", settings, "```"]
    return "\n".join(lines) + "\n"


def _figures(file: Path) -> list[str]:
    try:
        kept = parse_json(read_regular_text(file))
        errors = {name: float(value) for name, value in kept["val"].items()}
        pairs = int(kept["val_pairs"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file}: not the figures of a run as training writes them ({error!r})") from error
    rows = [f"| {what} | {errors[name]:.4f} |" for name, what in _FIGURES.items() if name in errors]
    return [
        f"Equal error rates on {pairs:,} validation pairs of people that were not trained on:",
        "",
        "| | EER |",
        "|---|---|",
        *rows,
    ]
