"""Networks for pictures, from timm. Where it lets them be shallow, they are."""

from __future__ import annotations

from tests.panel.making import timm

ONES = [1, 1, 1, 1]
NARROW = {"depth": 2, "embed_dim": 48, "num_heads": 3, "img_size": 64}

botnet = timm("botnet26t_256", img_size=64)
cait = timm("cait_xxs24_224", **NARROW | {"num_heads": 4})
coat = timm("coat_lite_tiny", img_size=64, serial_depths=ONES, embed_dims=[16, 16, 32, 32])
convit = timm("convit_tiny", img_size=64, depth=2, local_up_to_layer=1, embed_dim=12)
convnext = timm("convnext_atto", depths=ONES, dims=[16, 16, 32, 32])
cspnet = timm("darknet17", side=32)
densenet = timm("densenet121", growth_rate=8, block_config=[2, 2, 2, 2])
dla = timm("dla46_c")
edgenext = timm("edgenext_xx_small")
efficientformer = timm("efficientformer_l1", side=224, depths=[1, 1, 1, 2], embed_dims=[16, 16, 32, 32])
efficientvit = timm("efficientvit_b0", depths=[1, 1, 1, 1, 1], head_widths=[64, 64])
eva02 = timm("eva02_tiny_patch14_224", side=56, **NARROW | {"img_size": 56})
fasternet = timm("fasternet_t0", depths=ONES, embed_dim=16)
ghostnet = timm("ghostnet_050")
inception_next = timm("inception_next_atto", depths=ONES, dims=[16, 16, 32, 32])
lambda_resnet = timm("lambda_resnet26t", img_size=64)
lcnet = timm("lcnet_035")
mambaout = timm("mambaout_femto", depths=ONES, dims=[16, 16, 32, 32])
mixer = timm("mixer_s32_224", img_size=64)
mobilenetv2 = timm("mobilenetv2_035")
mobilenetv3 = timm("mobilenetv3_small_050")
nfnet = timm("nf_resnet26")
pit = timm("pit_ti_224", img_size=64, depth=[1, 1, 1])
poolformer = timm("poolformer_s12")
regnety = timm("regnety_002")
repvgg = timm("repvgg_a0", side=32)
res2net = timm("res2net50d", layers=ONES)
resnest = timm("resnest14d")
resnet = timm("resnet18", layers=ONES)
resnext = timm("resnext50_32x4d", layers=ONES)
sequencer = timm("sequencer2d_s", img_size=56, side=56, layers=ONES, embed_dims=[24, 48, 48, 48],
    hidden_sizes=[6, 12, 12, 12])  # fmt: skip
sknet = timm("skresnet18", layers=ONES)
starnet = timm("starnet_s1", depths=ONES)
swin = timm("swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=[2, 2], num_heads=[2, 4], embed_dim=24)
twins = timm("twins_svt_small", img_size=64, depths=ONES, embed_dims=[16, 32, 48, 64])
vit = timm("vit_tiny_patch16_224", **NARROW)
vit_relpos = timm("vit_relpos_small_patch16_224", **NARROW)
visformer = timm("visformer_tiny", img_size=64, depth=[1, 1, 1], embed_dim=48)
vovnet = timm("ese_vovnet19b_dw")
xcit = timm("xcit_nano_12_p16_224", **NARROW | {"num_heads": 4})
