"""``bonaface serve``."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bonaface.cli.console import ProgressConsole
from bonaface.cli.options import DEFAULT_RATE, DETECTOR, add_device, refuse_port
from bonaface.cli.parser import Parser
from bonaface.errors import ConfigError
from bonaface.gallery.database import DEFAULT_URI, URIS, default_uri, local_place, refuse_other_kind
from bonaface.io import integer, number
from bonaface.outputs import refuse_one_file

if TYPE_CHECKING:
    from bonaface.gallery.gallery import Gallery
    from bonaface.inference.verifier import Verifier
    from bonaface.service.schemas import HistogramResponse
    from bonaface.service.settings import ServiceSettings

__all__ = ["main"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="bonaface serve",
        description="Verification as a service: a REST API, its page, and a gallery of enrolled people. See docs/guides/deploy.md.",
        epilog="A Milvus server's token is read from the environment variable MILVUS_TOKEN.",
    )
    parser.add_argument(
        "--model", metavar="X", help="a run's folder or an exported model (default: the one that is shipped)"
    )
    parser.add_argument("--detector", type=Path, metavar="ONNX", help=DETECTOR)
    add_device(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; others than this machine's need --auth"
    )
    parser.add_argument("--port", type=integer, default=8000, help="port to listen at (default: %(default)s)")
    parser.add_argument(
        "--fmr", type=number, metavar="RATE", help=f"false match rate to decide at, a fraction ({DEFAULT_RATE})"
    )
    _add_gallery(parser.add_argument_group("enrolled people"))
    _add_safety(parser.add_argument_group("who may ask, and how much"))
    return parser


def _add_gallery(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--gallery",
        metavar="URI",
        help=f"{URIS}; or none (default: {DEFAULT_URI})",
    )
    group.add_argument(
        "--keep-photos",
        type=Path,
        metavar="DIR",
        help="keep enrolled images there, to embed them again for a new model",
    )
    group.add_argument(
        "--re-embed", action="store_true", help="embed the kept images again where the gallery is another model's"
    )


def _add_safety(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--auth", type=Path, metavar="FILE", help="ask for API keys, those of this file")
    group.add_argument(
        "--new-key",
        metavar="NAME",
        help="add a key to the file of --auth, or replace the one of that name, show it once, and end",
    )
    group.add_argument(
        "--cors", action="append", default=[], metavar="ORIGIN", help="let pages of this origin call; repeatable"
    )
    group.add_argument("--audit", type=Path, metavar="FILE", help="append who asked what to this file; never images")
    group.add_argument(
        "--rate", type=integer, default=600, help="requests a minute of one caller (default: %(default)s)"
    )
    group.add_argument(
        "--queue", type=integer, default=64, help="images that may wait before 503 (default: %(default)s)"
    )
    group.add_argument(
        "--seconds", type=number, default=30.0, help="longest upload, and longest answer (default: %(default)s)"
    )


def main(arguments: Sequence[str]) -> int:
    """Serves until it is told to stop; SIGTERM and Ctrl-C let it finish what it has begun."""
    options = _parser().parse_args(arguments)
    console = ProgressConsole()
    _refuse_nonsense(options)
    if options.new_key:
        _show_new_key(options, console)
        return 0
    import uvicorn

    from bonaface.inference.verifier import load
    from bonaface.service.app import create_app
    from bonaface.service.audit import AuditLog
    from bonaface.service.auth import Keys
    from bonaface.service.connections import TimedProtocol

    settings = _settings(options)
    settings.refuse_nonsense()
    if settings.keys is not None:
        Keys(settings.keys)
    with (
        _listening(options.host, options.port) as listening,
        contextlib.closing(AuditLog(settings.audit)) as audit,  # refused before a new gallery is made
    ):
        verifier = load(options.model, options.device, options.detector)
        settings = replace(settings, fmr=verifier.threshold(options.fmr).fmr)
        gallery = _gallery(options, verifier, console)
        app = create_app(verifier, gallery, settings, lambda: _histogram(verifier), audit)
        address = _address(options.host, listening.getsockname()[1])
        device = verifier.embedder.network.runtime
        said = f"{verifier.name} at {address}; gallery: {options.gallery}; device: {device}"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
        config = uvicorn.Config(
            app,
            http=TimedProtocol,
            ws="none",
            log_level="warning",
            use_colors=sys.stdout is not None and sys.stdout.isatty(),  # it is None where a daemon closed it
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=int(settings.seconds) + 5,
        )
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _histogram(verifier: Verifier) -> HistogramResponse:
    from bonaface.service.routes.histogram import of_demo_pack

    return of_demo_pack(verifier)


def _listening(host: str, port: int) -> socket.socket:
    """A socket of the address, before anything is loaded for nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY on sockets of this protocol alone; without it an answer's body comes 40 ms after its header
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, UnicodeError) as error:
        listening.close()
        raise ConfigError(
            f"--host {host} --port {port}: can't be listened at ({error}); choose another port"
        ) from error
    return listening


def _address(host: str, port: int) -> str:
    """The service's address as browsers take it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refuse_nonsense(options: argparse.Namespace) -> None:
    """Refuse settings before anything is loaded for nothing."""
    refuse_port(options.port)
    if options.new_key and options.auth is None:
        raise ConfigError("--new-key: name the file of keys by --auth FILE")
    if options.host not in _LOOPBACK and options.auth is None:
        raise ConfigError(
            f"--host {options.host}: others than this machine could ask; expected --auth FILE with API keys, or --host 127.0.0.1"
        )
    if options.detector is not None and not options.detector.is_file():
        raise ConfigError(f"--detector {options.detector}: is no file; expected a YuNet ONNX file")
    if options.re_embed and (options.keep_photos is None or options.gallery == "none"):
        raise ConfigError("--re-embed: name the folder of kept images by --keep-photos DIR, and the --gallery")
    if options.new_key is None:
        options.gallery = options.gallery or default_uri()
    refuse_one_file(_files(options))
    if options.gallery not in (None, "none"):
        refuse_other_kind(options.gallery)
    if options.keep_photos is not None and options.gallery == "none":
        raise ConfigError("--keep-photos: nobody is enrolled with --gallery none; name a gallery")


def _files(options: argparse.Namespace) -> dict[str, list[Path]]:
    """What each option writes, or reads as it is changed."""
    gallery = None if options.gallery in (None, "none") else local_place(options.gallery)
    named = {
        "--auth": options.auth,
        "--audit": options.audit,
        "--keep-photos": options.keep_photos,
        "--gallery": gallery,
    }
    beside = {"--audit": (".head", ".cut"), "--gallery": ("-wal", "-shm")}
    return {
        option: [path, *(path.with_name(path.name + end) for end in beside.get(option, ()))]
        for option, path in named.items()
        if path is not None
    }


def _show_new_key(options: argparse.Namespace, console: ProgressConsole) -> None:
    from rich.console import Console

    from bonaface.service.auth import has_key, new_key

    again = f"; the key that {options.new_key} had counts no more" if has_key(options.auth, options.new_key) else ""
    key = new_key(options.auth, options.new_key)
    Console().print(key, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"{options.auth}: keeps a digest of the key of {options.new_key}; it is not shown again{again}",
        highlight=False,
        soft_wrap=True,
    )


def _gallery(options: argparse.Namespace, verifier: Verifier, console: ProgressConsole) -> Gallery | None:
    from bonaface.gallery.collection_name import ModelMark
    from bonaface.gallery.gallery import Gallery
    from bonaface.gallery.reembed import reembed

    if options.gallery == "none":
        return None
    mark = ModelMark.of(verifier.embedder)
    token = os.environ.get("MILVUS_TOKEN", "")
    if options.re_embed:
        count = reembed(options.gallery, mark, options.keep_photos, verifier, token)
        console.print(f"{options.gallery}: {count:,} photos embedded by {verifier.name}", highlight=False, markup=False)
    return Gallery(options.gallery, mark, options.keep_photos, token)


def _settings(options: argparse.Namespace) -> ServiceSettings:
    from bonaface.service.settings import ServiceSettings
    from bonaface.verification.thresholds import DEFAULT_FMR

    return ServiceSettings(
        fmr=DEFAULT_FMR if options.fmr is None else options.fmr,
        loopback=options.host in _LOOPBACK,
        keys=options.auth,
        origins=tuple(options.cors),
        audit=options.audit,
        requests_a_minute=options.rate,
        queue=options.queue,
        seconds=options.seconds,
    )
