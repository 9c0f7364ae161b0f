"""Layers of torch.nn that other tables have seldom, alone or between two others."""

from __future__ import annotations

from tests.panel.making import layers

FIRST = {"batch_first": True}
PICTURE = (2, 3, 12, 12)
WAVE = (2, 3, 24)
CUBE = (2, 3, 6, 6, 6)
SEEN = ("Conv2d", 3, 8, 3)
HEARD = ("Conv1d", 3, 8, 3)

bag = layers(("EmbeddingBag", 20, 8, {"mode": "mean"}), ("Linear", 8, 4), inputs=([[1, 4, 9], [7, 4, 19]],))
batch_norm3d = layers(("Conv3d", 3, 4, 3), ("BatchNorm3d", 4), ("ReLU",), inputs=(CUBE,))
bilinear = layers(("Bilinear", 5, 6, 4), inputs=((3, 5), (3, 6)))
channel_shuffle = layers(SEEN, ("ChannelShuffle", 4), ("Conv2d", 8, 4, 1), inputs=(PICTURE,))
conv1d = layers(HEARD, ("GELU",), ("AdaptiveAvgPool1d", 5), ("Flatten",), ("Linear", 40, 4), inputs=(WAVE,))
conv2d_dilated = layers(("Conv2d", 3, 8, 3, {"dilation": 2, "padding": "same"}), ("SiLU",), inputs=(PICTURE,))
conv2d_mirrored = layers(("Conv2d", 3, 8, 3, {"padding": 1, "padding_mode": "reflect"}), ("ELU",), inputs=(PICTURE,))
conv3d = layers(("Conv3d", 3, 4, 3, {"stride": 2, "padding": 1}), ("MaxPool3d", 2), inputs=(CUBE,))
conv_transpose1d = layers(HEARD, ("ConvTranspose1d", 8, 4, 4, {"stride": 2, "padding": 1}), inputs=(WAVE,))
conv_transpose2d = layers(SEEN, ("ConvTranspose2d", 8, 4, 3, {"stride": 2, "output_padding": 1}), inputs=(PICTURE,))
conv_transpose3d = layers(("Conv3d", 3, 4, 3), ("ConvTranspose3d", 4, 2, 2, {"stride": 2}), inputs=(CUBE,))
fold = layers(("Unfold", 3, {"stride": 3}), ("Fold", (12, 12), 3, {"stride": 3}), SEEN, inputs=(PICTURE,))
group_norm = layers(SEEN, ("GroupNorm", 2, 8), ("Mish",), ("MaxPool2d", 2), inputs=(PICTURE,))
gru = layers(("GRU", 6, 8, FIRST), inputs=((2, 7, 6),))
gru_both_ways = layers(("GRU", 6, 8, FIRST | {"bidirectional": True, "num_layers": 2}), inputs=((2, 7, 6),))
instance_norm = layers(SEEN, ("InstanceNorm2d", 8, {"affine": True}), ("LeakyReLU", 0.1), inputs=(PICTURE,))
layer_norm = layers(("Linear", 6, 8), ("LayerNorm", 8), ("GLU",), ("Linear", 4, 4), inputs=((2, 7, 6),))
local_response_norm = layers(SEEN, ("LocalResponseNorm", 3), ("LPPool2d", 2, 2), inputs=(PICTURE,))
lstm = layers(("LSTM", 6, 8, FIRST), inputs=((2, 7, 6),))
lstm_both_ways = layers(("LSTM", 6, 8, FIRST | {"bidirectional": True, "num_layers": 2}), inputs=((2, 7, 6),))
lstm_projected = layers(("LSTM", 6, 8, FIRST | {"proj_size": 4}), inputs=((2, 7, 6),))
multihead_attention = layers(("MultiheadAttention", 8, 2, FIRST), inputs=((2, 5, 8), (2, 7, 8), (2, 7, 8)))
pixel_shuffle = layers(SEEN, ("PixelShuffle", 2), ("Conv2d", 2, 4, 1), ("PixelUnshuffle", 3), inputs=((2, 3, 11, 11),))
prelu = layers(SEEN, ("PReLU", 8), ("AvgPool2d", 3, {"stride": 2, "padding": 1}), ("Hardswish",), inputs=(PICTURE,))
reflection = layers(("ReflectionPad2d", 2), SEEN, ("ReplicationPad2d", 1), ("CircularPad2d", 1), inputs=(PICTURE,))
rms_norm = layers(
    ("Linear", 6, 8), ("RMSNorm", 8), ("Softplus",), ("Linear", 8, 4), ("LogSoftmax", 2), inputs=((2, 7, 6),)
)
rnn = layers(("RNN", 6, 8, FIRST | {"nonlinearity": "relu"}), inputs=((2, 7, 6),))
transformer = layers(("Transformer", 8, 2, 1, 1, 16, FIRST), inputs=((2, 7, 8), (2, 5, 8)))
transformer_decoder = layers(("TransformerDecoderLayer", 8, 2, 16, FIRST), inputs=((2, 5, 8), (2, 7, 8)))
transformer_encoder = layers(("TransformerEncoderLayer", 8, 2, 16, FIRST | {"norm_first": True}), inputs=((2, 7, 8),))
upsample_bicubic = layers(SEEN, ("Upsample", None, 2, "bicubic"), ("Conv2d", 8, 4, 1), inputs=(PICTURE,))
upsample_bilinear = layers(SEEN, ("Upsample", (17, 9), None, "bilinear", True), ("Conv2d", 8, 4, 1), inputs=(PICTURE,))
upsample_nearest = layers(SEEN, ("Upsample", None, 3), ("Tanhshrink",), ("Conv2d", 8, 4, 1), inputs=(PICTURE,))
activations = layers(
    ("Linear", 6, 8), ("Threshold", 0.1, 0.2), ("CELU",), ("Softmin", 1), ("Linear", 8, 2), inputs=((5, 6),)
)
