"""Encoders of text, from transformers."""

from __future__ import annotations

from tests.panel.making import TEXT, transformers

albert = transformers("AlbertForMaskedLM", TEXT, embedding_size=16)
bert = transformers("BertForMaskedLM", TEXT)
big_bird = transformers("BigBirdForMaskedLM", TEXT, attention_type="original_full")
canine = transformers("CanineForSequenceClassification", TEXT, num_hash_buckets=64, local_transformer_stride=16)
convbert = transformers("ConvBertForMaskedLM", TEXT, embedding_size=16, head_ratio=2, conv_kernel_size=3)
deberta = transformers("DebertaForMaskedLM", TEXT, relative_attention=True, pos_att_type=["c2p", "p2c"])
deberta_v2 = transformers("DebertaV2ForMaskedLM", TEXT, relative_attention=True, pos_att_type=["c2p", "p2c"])
distilbert = transformers("DistilBertForMaskedLM", TEXT, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
dpr = transformers("DPRQuestionEncoder", TEXT)
electra = transformers("ElectraForMaskedLM", TEXT, embedding_size=16)
ernie = transformers("ErnieForMaskedLM", TEXT)
esm = transformers("EsmForMaskedLM", TEXT, mask_token_id=3, position_embedding_type="rotary")
fnet = transformers("FNetForMaskedLM", TEXT)
funnel = transformers("FunnelForMaskedLM", vocab_size=99, max_position_embeddings=34, block_sizes=[1, 1], d_model=32,
    n_head=4, d_head=8, d_inner=64, pad_token_id=0)  # fmt: skip
ibert = transformers("IBertForMaskedLM", TEXT)
layoutlm = transformers("LayoutLMForMaskedLM", TEXT)
luke = transformers("LukeForMaskedLM", TEXT, entity_vocab_size=10, entity_emb_size=16)
mobilebert = transformers("MobileBertForMaskedLM", TEXT, embedding_size=16, intra_bottleneck_size=16)
modernbert = transformers("ModernBertForMaskedLM", TEXT, cls_token_id=1, sep_token_id=2, local_attention=8)
mpnet = transformers("MPNetForMaskedLM", TEXT)
nomic_bert = transformers("NomicBertForMaskedLM", TEXT)
rembert = transformers("RemBertForMaskedLM", TEXT, input_embedding_size=16, output_embedding_size=24)
roberta = transformers("RobertaForSequenceClassification", TEXT)
roformer = transformers("RoFormerForMaskedLM", TEXT, embedding_size=16)
splinter = transformers("SplinterModel", TEXT)
squeezebert = transformers("SqueezeBertForMaskedLM", TEXT, embedding_size=32)
tapas = transformers("TapasForMaskedLM", TEXT)
xlnet = transformers("XLNetLMHeadModel", vocab_size=99, d_model=32, n_layer=2, n_head=4, d_inner=64)
