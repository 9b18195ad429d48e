"""Nets of other packages with exits, by names such as `timm:resnet50`."""
