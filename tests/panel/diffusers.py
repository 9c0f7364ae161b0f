"""Parts of pipelines that make pictures, films and sound, from diffusers."""

from __future__ import annotations

from tests.panel.making import diffusers

TIMES = [10, 900]
BLOCKS = {"block_out_channels": [8, 16], "norm_num_groups": 4, "layers_per_block": 1}
CODED = BLOCKS | {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
CROSSED = BLOCKS | {"cross_attention_dim": 12, "attention_head_dim": 4}
HEADS = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2}

aura_flow = diffusers("AuraFlowTransformer2DModel", {
    "sample_size": 8, "num_mmdit_layers": 1, "num_single_dit_layers": 1, "attention_head_dim": 16,
    "num_attention_heads": 2, "joint_attention_dim": 12, "caption_projection_dim": 32, "pos_embed_max_size": 16,
}, hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 6, 12), timestep=[0.1, 0.9])  # fmt: skip
autoencoder_dc = diffusers("AutoencoderDC", {
    "latent_channels": 4, "attention_head_dim": 4, "encoder_block_types": ["ResBlock", "EfficientViTBlock"],
    "decoder_block_types": ["ResBlock", "EfficientViTBlock"], "encoder_block_out_channels": [8, 16],
    "decoder_block_out_channels": [8, 16], "encoder_layers_per_block": [1, 1], "decoder_layers_per_block": [1, 1],
    "encoder_qkv_multiscales": [[], [5]], "decoder_qkv_multiscales": [[], [5]],
}, sample=(2, 3, 16, 16))  # fmt: skip
autoencoder_kl = diffusers("AutoencoderKL", CODED, sample=(2, 3, 16, 16))
autoencoder_oobleck = diffusers("AutoencoderOobleck", {
    "encoder_hidden_size": 8, "downsampling_ratios": [2, 4], "channel_multiples": [1, 2], "decoder_channels": 8,
    "decoder_input_channels": 4,
}, sample=(2, 2, 64))  # fmt: skip
autoencoder_tiny = diffusers("AutoencoderTiny", {
    "encoder_block_out_channels": [8, 8], "decoder_block_out_channels": [8, 8], "num_encoder_blocks": [1, 1],
    "num_decoder_blocks": [1, 1],
}, sample=(2, 3, 16, 16))  # fmt: skip
controlnet = diffusers("ControlNetModel", CROSSED | {
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "conditioning_embedding_out_channels": [8, 8],
}, sample=(2, 4, 8, 8), timestep=TIMES, encoder_hidden_states=(2, 6, 12), controlnet_cond=(2, 3, 16, 16))  # fmt: skip
dit = diffusers("DiTTransformer2DModel", HEADS | {"sample_size": 8, "num_embeds_ada_norm": 10},
    hidden_states=(2, 4, 8, 8), timestep=TIMES, class_labels=[1, 7])  # fmt: skip
flux = diffusers("FluxTransformer2DModel", {
    "in_channels": 4, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2,
    "joint_attention_dim": 12, "pooled_projection_dim": 12, "axes_dims_rope": [4, 4, 8],
}, hidden_states=(2, 16, 4), encoder_hidden_states=(2, 6, 12), pooled_projections=(2, 12), timestep=[0.1, 0.9],
    img_ids=[[0.0, row, column] for row in range(4) for column in range(4)],
    txt_ids=[[0.0, 0.0, 0.0]] * 6)  # fmt: skip
latte = diffusers("LatteTransformer3DModel", HEADS | {
    "in_channels": 4, "out_channels": 4, "cross_attention_dim": 32, "sample_size": 8, "patch_size": 2,
    "norm_type": "ada_norm_single", "norm_elementwise_affine": False, "caption_channels": 12, "video_length": 2,
}, hidden_states=(2, 4, 2, 8, 8), timestep=TIMES, encoder_hidden_states=(2, 6, 12))  # fmt: skip
pixart = diffusers("PixArtTransformer2DModel", HEADS | {
    "cross_attention_dim": 32, "sample_size": 8, "caption_channels": 12, "use_additional_conditions": False,
}, hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 6, 12), timestep=TIMES)  # fmt: skip
prior = diffusers("PriorTransformer", HEADS | {"embedding_dim": 16, "num_embeddings": 6, "additional_embeddings": 4},
    hidden_states=(2, 16), timestep=TIMES, proj_embedding=(2, 16), encoder_hidden_states=(2, 6, 16))  # fmt: skip
sana = diffusers("SanaTransformer2DModel", HEADS | {
    "in_channels": 4, "out_channels": 4, "num_cross_attention_heads": 2, "cross_attention_head_dim": 16,
    "cross_attention_dim": 32, "caption_channels": 12, "sample_size": 8,
}, hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 6, 12), timestep=TIMES)  # fmt: skip
sd3 = diffusers("SD3Transformer2DModel", HEADS | {
    "sample_size": 8, "in_channels": 4, "out_channels": 4, "joint_attention_dim": 12, "caption_projection_dim": 32,
    "pooled_projection_dim": 12, "pos_embed_max_size": 8,
}, hidden_states=(2, 4, 8, 8), encoder_hidden_states=(2, 6, 12), pooled_projections=(2, 12),
    timestep=TIMES)  # fmt: skip
unet1d = diffusers("UNet1DModel", {"sample_size": 64, "block_out_channels": [32, 32, 64], "extra_in_channels": 64},
    sample=(2, 2, 64), timestep=TIMES)  # fmt: skip
unet2d = diffusers("UNet2DModel", BLOCKS | {
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 4,
}, sample=(2, 3, 16, 16), timestep=TIMES)  # fmt: skip
unet2d_condition = diffusers("UNet2DConditionModel", CROSSED | {
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}, sample=(2, 4, 8, 8), timestep=TIMES, encoder_hidden_states=(2, 6, 12))  # fmt: skip
unet3d_condition = diffusers("UNet3DConditionModel", CROSSED | {
    "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"], "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
}, sample=(2, 4, 2, 8, 8), timestep=TIMES, encoder_hidden_states=(2, 6, 12))  # fmt: skip
vq = diffusers("VQModel", CODED | {"num_vq_embeddings": 16}, sample=(2, 3, 16, 16))
wan = diffusers("WanTransformer3DModel", HEADS | {
    "in_channels": 4, "out_channels": 4, "text_dim": 12, "freq_dim": 16, "ffn_dim": 64, "rope_max_seq_len": 16,
}, hidden_states=(2, 4, 1, 8, 8), timestep=TIMES, encoder_hidden_states=(2, 6, 12))  # fmt: skip
