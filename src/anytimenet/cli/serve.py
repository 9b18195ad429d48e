"""`anytimenet serve BUNDLE|EXPORT ...`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from anytimenet.core.manifest.cost_table import CostTable
    from anytimenet.runtime.model import Model
    from anytimenet.serving.http.exports import Load
    from anytimenet.serving.http.settings import Settings
    from anytimenet.serving.http.sources import Source


@dataclass(frozen=True)
class Serve:
    """Answer images over HTTP, each by its deadline; under load accuracy is shed before requests are.

    POST /v1/predict with an image, and deadline_ms in its address, answers it; /openapi.json tells the rest.
    It listens on this machine alone unless --host says otherwise. SIGHUP or a replaced folder loads a model
    again, SIGTERM ends the server when requests under way are answered. Logs are JSON, a line each, on
    standard error.
    """

    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER ...")]
    """Folders of bundles, of the runs that made them, or of exported nets; NAME=FOLDER gives a name."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 is every one of this machine."""
    port: int = 8000
    """Port; 0 takes a free one."""
    policy: str = "anytime"
    """How requests share the machine; anytime, or one to compare with."""
    backend: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What runs the nets: native, eager PyTorch, onnxruntime, openvino; by default what a bundle was profiled
    with on this machine, else the native engine where it runs the net, else eager."""
    threads: int | None = None
    """Engine threads of each model; by default the cores less one."""
    queue_limit: int = 1024
    """Requests that wait at most; further ones are refused."""
    deadline_ms: float | None = None
    """Of requests that name none; without it the best stage answers them."""
    api_key_file: Path | None = None
    """A line a client, its name and its key; nobody else is answered then."""
    allow_host: tuple[str, ...] = ()
    """Further names under which clients may reach the server; * for any."""
    allow_origin: tuple[str, ...] = ()
    """Web pages elsewhere that may use it, such as https://example.org."""
    max_body_mib: float = 10.0
    """Of one request."""
    max_pixels: int = 25_000_000
    """Of one image."""
    max_concurrent: int = 256
    """Requests that are read or answered at a time."""
    client_concurrent: int | None = None
    """Requests of one client at a time; further ones are answered 429."""
    client_rate_hz: float | None = None
    """Requests of one client a second."""
    lame_duck_s: float = 0.0
    """After SIGTERM: seconds for which /readyz says no while requests are still taken."""
    drain_s: float = 10.0
    """Then: seconds that requests under way have to end."""
    watch_s: float = 2.0
    """Seconds between looks at whether a folder was replaced; 0 for never."""
    log: Literal["requests", "errors"] = "requests"
    """A line for every request, or for failures alone."""
    demo: bool = False
    """Offer the endpoints that make load on this server, for its page."""
    samples: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|NAME")] = None
    """Images that the page offers: the folder samples/ that anytimenet page wrote, a folder of images, or
    data by name, such as digits. With --demo those of data in memory that a net was trained on."""

    def run(self) -> None:
        """Serves until it is told to end."""
        from anytimenet.core.errors import require

        for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
            require(module, "serve")
        from anytimenet.serving.http.running import serve

        if not self.models:
            raise ValueError("no folder was given: anytimenet serve BUNDLE")
        sources = [self._source(given) for given in self.models]
        with self._sampled(sources) as samples:
            serve(sources, self._settings(samples), listening=self._say)

    @contextmanager
    def _sampled(self, sources: Sequence[Source]) -> Iterator[Path | None]:
        """A folder of samples as the page reads them, for as long as the server is there; None for none."""
        from anytimenet.cli.samples import candidates
        from anytimenet.serving.samples import LIST_NAME, chosen, write_samples

        named = self.samples if self.samples is not None else _offline(sources) if self.demo else None
        if named is None:
            yield None
        elif (Path(named) / LIST_NAME).is_file():
            yield Path(named)
        else:
            found = chosen(candidates(named), None)
            with TemporaryDirectory(prefix="anytimenet-samples-") as folder:
                write_samples(found, Path(folder))
                yield Path(folder)

    def _settings(self, samples: Path | None) -> Settings:
        from anytimenet.core import checks
        from anytimenet.serving.http.keys import ApiKeys
        from anytimenet.serving.http.settings import MIB, Limits, Settings

        limits = Limits(
            body_bytes=int(checks.number(self.max_body_mib, "max_body_mib", 0.001, 4096) * MIB),
            pixels=checks.whole_number(self.max_pixels, "max_pixels", 1),
            concurrent=checks.whole_number(self.max_concurrent, "max_concurrent", 1),
            client_concurrent=self.client_concurrent,
            client_rate_hz=self.client_rate_hz,
        )
        return Settings(
            host=self.host,
            port=self.port,
            deadline_ms=self.deadline_ms,
            limits=limits,
            allow_hosts=self.allow_host,
            allow_origins=self.allow_origin,
            keys=None if self.api_key_file is None else ApiKeys.read(self.api_key_file),
            lame_duck_s=self.lame_duck_s,
            drain_s=self.drain_s,
            watch_s=self.watch_s or None,
            demo=self.demo,
            log=self.log,
            samples=samples,
        )

    def _source(self, given: str) -> Source:
        from anytimenet.core import checks
        from anytimenet.serving.http.sources import Source
        from anytimenet.serving.scheduling.policies.known import policy_named

        policy_named(self.policy)
        name, equals, path = given.partition("=")
        folder = checks.path(path if equals else given, "models")
        return Source(
            name if equals else _name_of(folder),
            folder,
            _loader(folder, self.backend),
            policy=self.policy,
            threads=checks.optional(self.threads, "threads", checks.whole_number, 1, 1024),
            queue_limit=checks.whole_number(self.queue_limit, "queue_limit", 1, 2**20),
        )

    def _say(self, address: str) -> None:
        names = ", ".join(self._source(given).name for given in self.models)
        print(f"anytimenet serves {names} at {address}; Ctrl+C ends it", flush=True)


def _offline(sources: Sequence[Source]) -> str | None:
    """Data whose images come with a package, if a net was trained on it and they can be read here."""
    from importlib.util import find_spec

    from anytimenet.cli.samples import offline_data
    from anytimenet.core.manifest.manifest import Manifest
    from anytimenet.runtime.exported.record import EXPORT_NAME, ExportRecord

    if find_spec("torch") is None:
        return None
    for source in sources:
        exported = (source.folder / EXPORT_NAME).is_file()
        manifest = ExportRecord.read(source.folder).net if exported else Manifest.read(source.folder)
        if (named := offline_data(manifest)) is not None:
            return named
    return None


def _name_of(folder: Path) -> str:
    """A model's name where none is given: that of its folder, or of the run whose bundle it is."""
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "bundle" and resolved.parent.name else resolved.name


def _loader(folder: Path, backend: str | None) -> Load:
    from anytimenet.runtime.exported.record import EXPORT_NAME
    from anytimenet.serving.http.exports import export_loader

    if (folder / EXPORT_NAME).is_file():
        return export_loader(backend)
    return _bundle_loader(backend)


def _bundle_loader(backend: str | None) -> Load:
    """What loads a bundle, on a backend of its own; this needs PyTorch."""

    def load(folder: Path) -> tuple[Model, CostTable | None]:
        from anytimenet.core.errors import require

        torch = require("torch", "train")
        from anytimenet.core.manifest.table_choice import table_for
        from anytimenet.runtime.backends.backend import Placement
        from anytimenet.workflows import load as load_bundle
        from anytimenet.workflows.on_backend import chosen_model

        torch.set_num_threads(1)
        bundle = load_bundle(folder)
        model = chosen_model(bundle, backend, Placement())
        return model, table_for(bundle.cost_tables, model.backend.name, model.backend.placement)

    return load
