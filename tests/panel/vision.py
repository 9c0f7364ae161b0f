"""Models that see, some with a text beside the picture, from transformers."""

from __future__ import annotations

from tests.panel.making import PICTURE, TEXT, transformers

STAGES = {
    "image_size": 64,
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 16, 24, 32],
    "num_attention_heads": [1, 2, 2, 4],
}
WINDOWS = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
BOTH = {"text_config": TEXT | {"projection_dim": 16}, "vision_config": PICTURE | {"projection_dim": 16},
        "projection_dim": 16}  # fmt: skip
FILM = PICTURE | {"image_size": 16, "num_frames": 4}

aimv2 = transformers("Aimv2VisionModel", PICTURE)
beit = transformers("BeitForImageClassification", PICTURE, use_relative_position_bias=True)
bit = transformers("BitForImageClassification", STAGES, embedding_size=8, num_groups=4)
blip = transformers("BlipForConditionalGeneration", BOTH)
clip = transformers("CLIPModel", BOTH)
convnext = transformers("ConvNextForImageClassification", STAGES)
convnextv2 = transformers("ConvNextV2ForImageClassification", STAGES)
cvt = transformers("CvtForImageClassification", image_size=64, embed_dim=[16, 32, 48], num_heads=[1, 2, 3],
    depth=[1, 2, 3])  # fmt: skip
deit = transformers("DeiTForImageClassification", PICTURE)
depth_anything = transformers("DepthAnythingForDepthEstimation", patch_size=8, image_size=32, reassemble_hidden_size=32,
    neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8, head_hidden_size=8, backbone_config={
        **PICTURE, "model_type": "dinov2", "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4],
        "reshape_hidden_states": False})  # fmt: skip
detr = transformers("DetrForObjectDetection", d_model=32, num_queries=5, encoder_layers=1, decoder_layers=1,
    encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, image_size=64,
    backbone_config={"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24, 32],
                     "depths": [1, 1, 1, 1], "out_features": ["stage4"]})  # fmt: skip
dinov2 = transformers("Dinov2ForImageClassification", PICTURE)
dinov2_with_registers = transformers("Dinov2WithRegistersForImageClassification", PICTURE)
dinov3 = transformers("DINOv3ViTModel", PICTURE, num_register_tokens=2)
dpt = transformers("DPTForDepthEstimation", PICTURE, num_hidden_layers=4, backbone_out_indices=[0, 1, 2, 3],
    neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8)  # fmt: skip
efficientnet = transformers("EfficientNetForImageClassification", image_size=32, width_coefficient=0.5,
    depth_coefficient=0.5, hidden_dim=640)  # fmt: skip
focalnet = transformers("FocalNetForImageClassification", image_size=32, embed_dim=16, hidden_sizes=[16, 32],
    depths=[1, 1], focal_levels=[2, 2], focal_windows=[3, 3])  # fmt: skip
glpn = transformers("GLPNForDepthEstimation", STAGES, decoder_hidden_size=8)
groupvit = transformers("GroupViTModel", BOTH | {"vision_config": PICTURE | {
    "depths": [1, 1, 1], "num_group_tokens": [8, 4, 0], "num_output_groups": [8, 4, 4]}},
    projection_intermediate_dim=32)  # fmt: skip
hiera = transformers("HieraForImageClassification", image_size=[32, 32], embed_dim=8, depths=[1, 1, 1],
    num_heads=[1, 2, 4], num_query_pool=2, masked_unit_size=[4, 4], masked_unit_attention=[True, False, False],
    query_stride=[2, 2])  # fmt: skip
levit = transformers("LevitForImageClassification", image_size=64, hidden_sizes=[16, 24, 32],
    num_attention_heads=[2, 3, 4], depths=[1, 1, 1], key_dim=[8, 8, 8])  # fmt: skip
mobilenet_v1 = transformers("MobileNetV1ForImageClassification", image_size=32, depth_multiplier=0.25)
mobilenet_v2 = transformers("MobileNetV2ForImageClassification", image_size=32, depth_multiplier=0.25)
mobilevit = transformers("MobileViTForImageClassification", image_size=64, hidden_sizes=[16, 24, 32],
    neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 32], num_attention_heads=2)  # fmt: skip
mobilevitv2 = transformers("MobileViTV2ForImageClassification", image_size=64, width_multiplier=0.25,
    n_attn_blocks=[1, 1, 1])  # fmt: skip
owlvit = transformers("OwlViTModel", BOTH)
poolformer = transformers("PoolFormerForImageClassification", STAGES)
pvt = transformers("PvtForImageClassification", STAGES)
pvt_v2 = transformers("PvtV2ForImageClassification", STAGES)
regnet = transformers("RegNetForImageClassification", STAGES, embedding_size=8, groups_width=8)
resnet = transformers("ResNetForImageClassification", STAGES, embedding_size=8, layer_type="basic")
segformer = transformers("SegformerForSemanticSegmentation", STAGES, decoder_hidden_size=16)
siglip = transformers("SiglipModel", BOTH)
swiftformer = transformers("SwiftFormerForImageClassification", image_size=64, embed_dims=[8, 16, 24, 32],
    depths=[1, 1, 1, 1])  # fmt: skip
swin = transformers("SwinForImageClassification", WINDOWS)
swin2sr = transformers("Swin2SRForImageSuperResolution", WINDOWS, patch_size=1, image_size=16)
swinv2 = transformers("Swinv2ForImageClassification", WINDOWS)
timesformer = transformers("TimesformerForVideoClassification", FILM)
upernet = transformers("UperNetForSemanticSegmentation", image_size=64, hidden_size=16, auxiliary_in_channels=24,
    auxiliary_channels=8, backbone_config={
        "model_type": "convnext", "depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32],
        "out_features": ["stage1", "stage2", "stage3", "stage4"]})  # fmt: skip
videomae = transformers("VideoMAEForVideoClassification", FILM)
vit = transformers("ViTForImageClassification", PICTURE)
vivit = transformers("VivitForVideoClassification", FILM, tubelet_size=[2, 8, 8])
yolos = transformers("YolosForObjectDetection", PICTURE | {"image_size": [32, 48]}, num_detection_tokens=5)
