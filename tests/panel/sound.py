"""Models of sound and of other series, from transformers."""

from __future__ import annotations

from tests.panel.making import TEXT, transformers

WAVE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 32,
    "conv_dim": [16, 16, 16, 16], "conv_stride": [10, 8, 4, 2], "conv_kernel": [10, 8, 4, 2],
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 16,
}  # fmt: skip
SEQUENCES = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1, "max_target_positions": 34,
}  # fmt: skip

audio_spectrogram_transformer = transformers("ASTForAudioClassification", hidden_size=32, num_hidden_layers=2,
    num_attention_heads=4, intermediate_size=64, max_length=64, num_mel_bins=32)  # fmt: skip
hubert = transformers("HubertForSequenceClassification", WAVE)
moonshine = transformers("MoonshineForConditionalGeneration", TEXT, encoder_num_hidden_layers=2,
    decoder_num_hidden_layers=2, encoder_num_attention_heads=4, decoder_num_attention_heads=4,
    decoder_start_token_id=1)  # fmt: skip
patchtsmixer = transformers("PatchTSMixerForPrediction", context_length=32, prediction_length=8, num_input_channels=2)
patchtst = transformers("PatchTSTForPrediction", context_length=32, prediction_length=8, num_input_channels=2,
    patch_length=4, patch_stride=4, d_model=32, ffn_dim=64, num_hidden_layers=2)  # fmt: skip
sew = transformers("SEWForSequenceClassification", WAVE)
sew_d = transformers("SEWDForSequenceClassification", WAVE, max_position_embeddings=64, position_buckets=16)
speech_to_text = transformers("Speech2TextForConditionalGeneration", SEQUENCES, max_source_positions=128,
    conv_channels=16, input_feat_per_channel=20)  # fmt: skip
unispeech_sat = transformers("UniSpeechSatForSequenceClassification", WAVE)
wav2vec2 = transformers("Wav2Vec2ForSequenceClassification", WAVE)
wav2vec2_bert = transformers("Wav2Vec2BertForSequenceClassification", WAVE, feature_projection_input_dim=20,
    max_source_positions=128)  # fmt: skip
wav2vec2_conformer = transformers("Wav2Vec2ConformerForSequenceClassification", WAVE, max_source_positions=128)
wavlm = transformers("WavLMForSequenceClassification", WAVE, num_buckets=16, max_bucket_distance=32)
whisper = transformers("WhisperForConditionalGeneration", SEQUENCES, num_mel_bins=20, max_source_positions=24)
