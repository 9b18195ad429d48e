"""`anytimenet info NET|BUNDLE`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from anytimenet.cli.output import emit_json


@dataclass(frozen=True)
class Info:
    """Counted costs of a registered net or a bundle.

    JSON: {name, num_stages, stored_params, input_shape, stages: [{stage, macs, full, params, macs_step,
    macs_cumulative, msd, params_cumulative}]}, raw integers for one image. macs, full and params are
    sub-network k alone; macs_step goes from finished stage k-1 to stage k; macs_cumulative, msd and
    params_cumulative include all earlier heads.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NET|BUNDLE")]
    """A registered net, or the folder of a bundle."""
    num_classes: int | None = None
    """Classes; 10 by default for a registered net."""
    image_size: Annotated[str | None, tyro.conf.arg(metavar="N|HxW")] = None
    """Side of the image that is counted, or height and width; by default that of the published costs."""
    net_args: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Arguments of the net, for example normalisation=shared."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print JSON, or write it to a file."""

    def run(self) -> None:
        """Counts and prints."""
        from anytimenet.core.errors import require

        require("torch", "train")
        from anytimenet.cli.train import parse_arguments
        from anytimenet.costs import stage_costs
        from anytimenet.data import parse_image_size
        from anytimenet.nets import build_on_meta, create_net, net_entry, rebuild_net

        manifest = self._manifest()
        if manifest is not None:
            net, input_shape = build_on_meta(lambda: rebuild_net(manifest.net)), manifest.input_shape
        else:
            arguments = parse_arguments("--net-args", self.net_args)
            classes = 10 if self.num_classes is None else self.num_classes
            net = build_on_meta(lambda: create_net(self.name, classes, **arguments))
            input_shape = (net.in_channels, *net_entry(self.name).input_shape[1:])
        if self.image_size is not None:
            sides = parse_image_size(self.image_size)
            input_shape = (input_shape[0], *((sides, sides) if isinstance(sides, int) else sides))
        costs = stage_costs(net, input_shape)
        result = {
            "name": self.name if manifest is None else manifest.net.name,
            "num_stages": net.num_stages,
            "stored_params": sum(parameter.numel() for parameter in net.parameters()),
            "input_shape": list(input_shape),
            "stages": [asdict(cost) for cost in costs],
        }
        if self.json is not None:
            emit_json(result, self.json)
        if self.json != "-":
            self._print(result)

    def _manifest(self):
        from anytimenet.core.bundle_folder import find_bundle
        from anytimenet.core.manifest import Manifest

        if not Path(self.name).is_dir():
            return None
        if self.num_classes is not None or self.net_args:
            raise ValueError(
                "a bundle brings its classes and arguments: leave --num-classes and --net-args out"
            )
        return Manifest.read(find_bundle(self.name))

    def _print(self, result: dict) -> None:
        from anytimenet.evaluation import format_count

        shape = "x".join(str(size) for size in result["input_shape"])
        print(
            f"{result['name']}: {result['num_stages']} stages, {format_count(result['stored_params'])} "
            f"parameters stored; multiply-adds for one {shape} image"
        )
        print("stage  alone        full         parameters   step         cumulative")
        for s in result["stages"]:
            columns = (s["macs"], s["full"], s["params"], s["macs_step"], s["macs_cumulative"])
            print(f"{s['stage']:5}  " + "  ".join(f"{format_count(value):11}" for value in columns).rstrip())
