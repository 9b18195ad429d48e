"""`anytimenet info NET|BUNDLE`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anytimenet.cli.output import emit
from anytimenet.core.errors import MissingExtraError, require
from anytimenet.core.registered import registered, unknown

if TYPE_CHECKING:
    from anytimenet.core.manifest.manifest import Manifest
    from anytimenet.costs import StageCost
    from anytimenet.nets import AnytimeNet

CLASSES = 10
"""Of a registered net whose classes are not said."""
_COLUMNS = ("macs", "full", "params", "macs_step", "macs_cumulative")


@dataclass(frozen=True)
class Info:
    """Counted costs of a registered net or a bundle.

    JSON: {name, num_stages, stored_params, input_shape, stages: [{stage, macs, full, params, macs_step,
    macs_cumulative, msd, params_cumulative, macs_complete, uncounted_operators}]}, integers for one image.
    macs, full and params are sub-network k alone; macs_step goes from finished stage k-1 to stage k;
    macs_cumulative, msd and params_cumulative include all earlier heads. With --taps {name, taps: [{tap,
    share}]}.

    Needs no torch for a registered net as it is and for a bundle. Of a bundle of an earlier version the steps
    are counted where torch is installed, else they are null.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NET|BUNDLE")]
    """A registered net, or the folder of a bundle."""
    num_classes: int | None = None
    """Classes; 10 by default for a registered net."""
    image_size: Annotated[str | None, tyro.conf.arg(metavar="N|HxW")] = None
    """Side of the image that is counted, or height and width; by default that of the published costs."""
    net_args: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Arguments of the net, for example normalisation=shared."""
    taps: bool = False
    """Where exits may be on a net of another package (timm:NAME), with the share of its work up to there."""
    json: Annotated[str | None, tyro.conf.arg(metavar="[FILE.json]")] = None
    """Print JSON, or write it to a file."""

    def run(self) -> None:
        """Looks up or counts, and prints."""
        if self.taps:
            self._tell_taps()
            return
        manifest = self._manifest()
        result = self._known(manifest)
        if result is None:
            try:
                result = self._counted(manifest)
            except MissingExtraError:
                if manifest is None or self.image_size is not None:
                    raise
                result = _of_manifest(manifest)
        for stage in result["stages"]:
            stage.setdefault("macs_complete", True)
            stage.setdefault("uncounted_operators", [])
        if emit(self.json, result):
            self._print(result)

    def _tell_taps(self) -> None:
        require("torch", "train")
        from anytimenet.data import parse_image_size
        from anytimenet.nets.wrapped.adapters.backbone import taps_of

        if ":" not in self.name or self.net_args or self.num_classes is not None:
            raise ValueError(
                "--taps is for a net of another package, such as timm:resnet50; --image-size goes with it"
            )
        size = None if self.image_size is None else parse_image_size(self.image_size)
        places = taps_of(self.name, size)
        taps = [{"tap": tap, "share": share} for tap, share in places.items()]
        if emit(self.json, {"name": self.name, "taps": taps}):
            width = max(map(len, places), default=3)
            print(f"{'tap':{width}}  share of the multiply-adds")
            for tap, share in places.items():
                print(f"{tap:{width}}  {share:.3f}")

    def _known(self, manifest: Manifest | None) -> dict[str, Any] | None:
        """What is written down of the net, which needs no torch; None if there is more to count."""
        if self.image_size is not None:
            return None
        if manifest is not None:
            known = _of_manifest(manifest)
            return None if known["stored_params"] is None and manifest.net is not None else known
        if self.net_args or self.num_classes not in (None, CLASSES) or "anytimenet.nets" in sys.modules:
            return None
        if ":" in self.name:  # of another package, which has to be asked
            return None
        costs: dict[str, dict[str, Any]] = {record["name"]: record["costs"] for record in registered("nets")}
        if self.name not in costs:
            raise ValueError(f"no net is named {self.name!r}: {unknown(self.name, 'nets', costs)}")
        return costs[self.name]

    def _counted(self, manifest: Manifest | None) -> dict[str, Any]:
        require("torch", "train")
        from anytimenet.cli.train import parse_arguments
        from anytimenet.data import parse_image_size
        from anytimenet.nets import build_on_meta, create_net, net_entry, rebuild_net

        if manifest is not None:
            origin = manifest.net
            if origin is None:
                raise ValueError("its net was built by hand, and only its code can count another image_size")
            name, input_shape = origin.name, manifest.input_shape
            net = build_on_meta(lambda: rebuild_net(origin))
        else:
            name, arguments = self.name, parse_arguments("--net-args", self.net_args)
            classes = CLASSES if self.num_classes is None else self.num_classes
            net = build_on_meta(lambda: create_net(name, classes, **arguments))
            input_shape = (net.in_channels, *net_entry(name).input_shape[1:])
        if self.image_size is not None:
            sides = parse_image_size(self.image_size)
            input_shape = (input_shape[0], *((sides, sides) if isinstance(sides, int) else sides))
        return counted(name, net, input_shape, None if manifest is None else manifest.cost_rules)

    def _manifest(self) -> Manifest | None:
        if not Path(self.name).is_dir():
            return None
        if self.num_classes is not None or self.net_args:
            raise ValueError(
                "a bundle brings its classes and arguments: leave --num-classes and --net-args out"
            )
        from anytimenet.core.manifest.folder import find_bundle
        from anytimenet.core.manifest.manifest import Manifest

        return Manifest.read(find_bundle(self.name))

    def _print(self, result: dict[str, Any]) -> None:
        from anytimenet.core.uncounted import MARK, incomplete_note
        from anytimenet.evaluation.text.units import format_count

        def shown(count: int | None, marked: bool = False) -> str:
            return "-" if count is None else format_count(count) + MARK * marked

        shape = "x".join(str(size) for size in result["input_shape"])
        print(
            f"{result['name']}: {result['num_stages']} stages, {shown(result['stored_params'])} "
            f"parameters stored; multiply-adds for one {shape} image"
        )
        print("stage  alone        full         parameters   step         cumulative")
        for s in result["stages"]:
            cells = [shown(s[name], name != "params" and not s["macs_complete"]) for name in _COLUMNS]
            print(f"{s['stage']:5}  " + "  ".join(f"{cell:11}" for cell in cells).rstrip())
        if any(s["macs_step"] is None for s in result["stages"]):
            print("The bundle does not say what its steps cost, and counting them needs torch.")
        uncounted = sorted({name for s in result["stages"] for name in s["uncounted_operators"]})
        if uncounted:
            print(incomplete_note(uncounted))
            print(
                "in Python: bundle.count_costs(rules={...}), or an.stage_costs(net, input_shape, rules={...})"
            )
        if "note" in result:
            print(result["note"])


def counted(
    name: str, net: AnytimeNet, input_shape: Sequence[int], rules: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON of a net, counted; what is complete goes without saying."""
    from anytimenet.costs import stage_costs

    return {
        "name": name,
        "num_stages": net.num_stages,
        "stored_params": sum(parameter.numel() for parameter in net.parameters()),
        "input_shape": list(input_shape),
        "stages": [_as_json(cost) for cost in stage_costs(net, input_shape, rules=rules)],
    }


def _as_json(cost: StageCost) -> dict[str, Any]:
    value = asdict(cost)
    uncounted = value.pop("uncounted_operators")
    return value | ({"macs_complete": False, "uncounted_operators": list(uncounted)} if uncounted else {})


def _of_manifest(manifest: Manifest) -> dict[str, Any]:
    """The JSON of a bundle as far as it is written down in it; None for what is not."""
    from anytimenet.core.manifest.records import STEP_COSTS, STEPS

    stored = manifest.extensions.get(STEPS)
    steps = stored if isinstance(stored, list) and len(stored) == manifest.num_stages else []
    stages = []
    for index, record in enumerate(manifest.stages):
        alone = {name: getattr(record, name) for name in ("stage", "macs", "full", "params")}
        alone |= {
            "macs_complete": record.macs_complete,
            "uncounted_operators": list(record.uncounted_operators),
        }
        step = steps[index] if steps and isinstance(steps[index], dict) else {}
        costs = {name: step.get(name) for name in STEP_COSTS}
        # From a file, which anyone may have written.
        whole = all(isinstance(value, int) and not isinstance(value, bool) for value in costs.values())
        stages.append({**alone, **(costs if whole else dict.fromkeys(STEP_COSTS))})
    return {
        "name": "a net built by hand" if manifest.net is None else manifest.net.name,
        **({} if manifest.structure is None else {"note": manifest.structure.note}),
        "num_stages": manifest.num_stages,
        "stored_params": stages[-1]["params_cumulative"],
        "input_shape": list(manifest.input_shape),
        "stages": stages,
    }
