"""Networks for pictures and films, from torchvision: as small as its names get."""

from __future__ import annotations

from tests.panel.making import torchvision

SEEN = {"num_classes": 10}
UNTRAINED = {"weights": None, "weights_backbone": None, **SEEN}

convnext = torchvision("convnext_tiny", 2, 3, 32, 32, **SEEN)
deeplabv3 = torchvision("segmentation.deeplabv3_mobilenet_v3_large", 2, 3, 64, 64, **UNTRAINED)
densenet = torchvision("DenseNet", 2, 3, 64, 64, growth_rate=8, block_config=[2, 2, 2], num_init_features=16, **SEEN)
efficientnet = torchvision("efficientnet_b0", 2, 3, 32, 32, **SEEN)
googlenet = torchvision("googlenet", 2, 3, 64, 64, aux_logits=False, init_weights=False, **SEEN)
lraspp = torchvision("segmentation.lraspp_mobilenet_v3_large", 2, 3, 64, 64, **UNTRAINED)
mnasnet = torchvision("mnasnet0_5", 2, 3, 64, 64, **SEEN)
mobilenet_v2 = torchvision("mobilenet_v2", 2, 3, 64, 64, width_mult=0.25, **SEEN)
mobilenet_v3 = torchvision("mobilenet_v3_small", 2, 3, 64, 64, **SEEN)
r3d = torchvision("video.r3d_18", 1, 3, 4, 32, 32, **SEEN)
regnet = torchvision("regnet_x_400mf", 2, 3, 64, 64, **SEEN)
resnet = torchvision("resnet18", 2, 3, 64, 64, **SEEN)
shufflenet = torchvision("shufflenet_v2_x0_5", 2, 3, 64, 64, **SEEN)
squeezenet = torchvision("squeezenet1_1", 2, 3, 64, 64, **SEEN)
swin = torchvision("SwinTransformer", 2, 3, 32, 32, patch_size=[4, 4], embed_dim=16, depths=[2, 2], num_heads=[2, 4],
    window_size=[4, 4], **SEEN)  # fmt: skip
vit = torchvision("VisionTransformer", 2, 3, 32, 32, image_size=32, patch_size=8, num_layers=2, num_heads=4,
    hidden_dim=32, mlp_dim=64, **SEEN)  # fmt: skip
