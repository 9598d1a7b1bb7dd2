"""Size on the disk of the packages that docker/ installs, from the wheels of this environment.

python benchmarks/image_size.py
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
IMAGES = {
    "core": "",
    "docker/Dockerfile": "serve",
    "docker/compose.yaml": "gallery,serve",
    "docker/Dockerfile.gpu": "serve,train",
}


def closure(extras: str) -> set[str]:
    """Names of every package that ``bonaface[extras]`` installs here, without bonaface.

    Raises:
        SystemExit: naming what this environment lacks.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [Requirement(f"bonaface[{extras}]")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            name = wanted.name.lower()
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name == "bonaface":
                named = project["optional-dependencies"][extra] if extra else project["dependencies"]
                waiting += [each for each in map(Requirement, named) if _applies(each, "")]
            else:
                waiting += [each for each in map(Requirement, _requires(name)) if _applies(each, extra)]
    return {name for name, _ in seen} - {"bonaface"}


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _requires(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        raise SystemExit(f"{name}: not installed here: pip install 'bonaface[all]'") from None


def installed_bytes(name: str) -> int:
    """Bytes of a package's files, as its RECORD lists them."""
    files = [Path(str(each.locate())) for each in distribution(name).files or []]
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> None:
    """Prints a line an image."""
    model = sum(
        file.stat().st_size for file in (ROOT / "bonaface").rglob("*") if file.is_file() and file.suffix != ".pyc"
    )
    for image, extras in IMAGES.items():
        names = closure(extras)
        size = model + sum(installed_bytes(name) for name in names)
        print(f"{image}: {len(names)} packages, {size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
