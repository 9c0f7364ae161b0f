"""Encoders and decoders from text to text, from transformers."""

from __future__ import annotations

from tests.panel.making import transformers

TOKENS = {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0,
          "max_position_embeddings": 34}  # fmt: skip
BART = TOKENS | {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "forced_eos_token_id": 2,
}  # fmt: skip
T5 = TOKENS | {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}

bart = transformers("BartForConditionalGeneration", BART)
bigbird_pegasus = transformers("BigBirdPegasusForConditionalGeneration", BART, attention_type="original_full")
blenderbot_small = transformers("BlenderbotSmallForConditionalGeneration", BART)
longt5 = transformers("LongT5ForConditionalGeneration", T5, local_radius=7)
m2m_100 = transformers("M2M100ForConditionalGeneration", BART)
marian = transformers("MarianMTModel", BART)
mbart = transformers("MBartForConditionalGeneration", BART)
pegasus = transformers("PegasusForConditionalGeneration", BART)
pegasus_x = transformers("PegasusXForConditionalGeneration", BART, num_global_tokens=4, block_size=8)
prophetnet = transformers("ProphetNetForConditionalGeneration", TOKENS, hidden_size=32, encoder_ffn_dim=64,
    decoder_ffn_dim=64, num_encoder_layers=2, num_decoder_layers=2, num_encoder_attention_heads=4,
    num_decoder_attention_heads=4)  # fmt: skip
t5 = transformers("T5ForConditionalGeneration", T5)
umt5 = transformers("UMT5ForConditionalGeneration", T5)
