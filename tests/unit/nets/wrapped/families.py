"""Small nets of timm's and torchvision's families, with random weights: as their code builds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

CLASSES = 5


@dataclass(frozen=True)
class Family:
    """A small net of a family.

    Attributes:
        build: from timm or torchvision.models to the net.
        taps: where its exits are.
        side: of the images that it is tried with.
        large: the smallest that there is takes too long for every proof.
    """

    build: Callable[[Any], Any]
    taps: tuple[str, ...]
    side: int = 32
    large: bool = False


def _timm_resnet(timm: Any) -> Any:
    block = timm.models.resnet.BasicBlock
    return timm.models.ResNet(block, (1, 1, 1, 1), num_classes=CLASSES, channels=(8, 16, 24, 32))


def _timm_vgg(timm: Any) -> Any:
    net = timm.models.VGG([8, "M", 16, "M", 16, "M"], num_classes=CLASSES, norm_layer=nn.BatchNorm2d)
    net.pre_logits = timm.models.vgg.ConvMlp(16, 24, 3, mlp_ratio=1.0, drop_rate=0.2)
    net.head.fc = nn.Linear(24, CLASSES)
    return net


def _timm_regnet(timm: Any) -> Any:
    code = timm.models.regnet
    shape = code.RegNetCfg(w0=8, wa=8.0, wm=2.0, group_size=8, depth=6, se_ratio=0.25)
    return code.RegNet(shape, num_classes=CLASSES)


def _tokens(name: str, **more: Any) -> Callable[[Any], Any]:
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "num_classes": CLASSES}
    return lambda timm: getattr(timm.models, name)(**{**size, **more})


def _mixer(timm: Any) -> Any:
    return timm.models.MlpMixer(img_size=32, patch_size=8, num_blocks=3, embed_dim=24, num_classes=CLASSES)


def _poolformer(timm: Any) -> Any:
    code = timm.models.metaformer
    more = {"token_mixers": code.Pooling, "mlp_act": nn.GELU, "use_mlp_head": False}
    return code.MetaFormer(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=CLASSES, **more)


def _torchvision_efficientnet(models: Any) -> Any:
    block = models.efficientnet.MBConvConfig
    shapes = [(1, 3, 1, 8, 8, 1, 1, 1), (2, 3, 2, 8, 16, 2, 1, 1), (2, 3, 2, 16, 24, 1, 1, 1)]
    return models.EfficientNet([block(*shape) for shape in shapes], 0.2, num_classes=CLASSES)


TIMM = {
    "resnet": Family(_timm_resnet, ("layer1", "layer3.0")),
    "efficientnet": Family(
        lambda timm: timm.create_model("test_efficientnet", num_classes=CLASSES), ("blocks.1", "blocks.3")
    ),
    "mobilenetv3": Family(
        lambda timm: timm.create_model("mobilenetv3_small_050", num_classes=CLASSES),
        ("blocks.1", "blocks.3"),
        large=True,
    ),
    "convnext": Family(
        lambda timm: timm.models.ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=CLASSES),
        ("stages.0", "stages.2.blocks.0"),
    ),
    "regnet": Family(_timm_regnet, ("s1", "s2")),
    "densenet": Family(
        lambda timm: timm.models.DenseNet(growth_rate=4, block_config=(2, 2, 2), num_classes=CLASSES),
        ("features.denseblock1", "features.denseblock2"),
    ),
    "vgg": Family(_timm_vgg, ("features.3", "features.7")),
    "vit": Family(_tokens("VisionTransformer", depth=3, drop_rate=0.2), ("blocks.0", "blocks.1")),
    "cait": Family(_tokens("Cait", depth=3), ("blocks.0", "blocks.2")),
    "beit": Family(
        _tokens("Beit", depth=3, use_rel_pos_bias=True, use_abs_pos_emb=False, init_values=0.1),
        ("blocks.0", "blocks.1"),
    ),
    "swin": Family(
        _tokens("SwinTransformer", patch_size=2, embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=4),
        ("layers.0.blocks.0", "layers.0"),
    ),
    "mixer": Family(_mixer, ("blocks.0", "blocks.1")),
    "poolformer": Family(_poolformer, ("stages.0", "stages.2"), 64),
    "mobilevit": Family(
        lambda timm: timm.create_model("mobilevit_xxs", num_classes=CLASSES),
        ("stages.1", "stages.3"),
        64,
        large=True,
    ),
}

TORCHVISION = {
    "resnet": Family(
        lambda models: models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=CLASSES),
        ("layer1", "layer2"),
    ),
    "mobilenet_v3": Family(
        lambda models: models.mobilenet_v3_small(num_classes=CLASSES),
        ("features.3", "features.8"),
        large=True,
    ),
    "efficientnet": Family(_torchvision_efficientnet, ("features.1", "features.2.0")),
    "densenet": Family(
        lambda models: models.DenseNet(4, (2, 2, 2), 8, num_classes=CLASSES),
        ("features.denseblock1", "features.denseblock2"),
    ),
    "swin": Family(
        lambda models: models.SwinTransformer([2, 2], 8, [2, 2], [2, 2], [4, 4], num_classes=CLASSES),
        ("features.1.0", "features.2"),
    ),
    "vit": Family(
        lambda models: models.VisionTransformer(32, 8, 3, 2, 24, 48, dropout=0.1, num_classes=CLASSES),
        ("encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"),
    ),
    "googlenet": Family(
        lambda models: models.GoogLeNet(CLASSES, aux_logits=False, init_weights=False, transform_input=True),
        ("inception3b", "inception4c"),
        64,
        large=True,
    ),
}
