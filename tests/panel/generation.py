"""Decoders that continue a text, from transformers."""

from __future__ import annotations

from tests.panel.making import TEXT, transformers

EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}

apertus = transformers("ApertusForCausalLM", TEXT)
biogpt = transformers("BioGptForCausalLM", TEXT)
bloom = transformers("BloomForCausalLM", TEXT)
codegen = transformers("CodeGenForCausalLM", TEXT, rotary_dim=4, n_positions=34)
cohere = transformers("CohereForCausalLM", TEXT)
cohere2 = transformers("Cohere2ForCausalLM", TEXT, sliding_window=8)
ctrl = transformers("CTRLLMHeadModel", TEXT, dff=64, n_positions=34)
deepseek_v3 = transformers("DeepseekV3ForCausalLM", TEXT, EXPERTS, n_routed_experts=4, n_group=2, topk_group=1,
    first_k_dense_replace=1, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=4, qk_nope_head_dim=8, v_head_dim=8,
    num_mtp_layers=0, num_key_value_heads=4, head_dim=4)  # fmt: skip
diffllama = transformers("DiffLlamaForCausalLM", TEXT)
doge = transformers("DogeForCausalLM", TEXT, keep_window_size=8)
falcon = transformers("FalconForCausalLM", {name: TEXT[name] for name in TEXT if name != "head_dim"})
falcon_mamba = transformers("FalconMambaForCausalLM", TEXT, state_size=4, max_position_embeddings=14)
gemma = transformers("GemmaForCausalLM", TEXT)
gemma2 = transformers("Gemma2ForCausalLM", TEXT, query_pre_attn_scalar=8, sliding_window=8)
gemma3 = transformers("Gemma3ForCausalLM", TEXT, query_pre_attn_scalar=8, sliding_window=8)
glm = transformers("GlmForCausalLM", TEXT)
gpt2 = transformers("GPT2LMHeadModel", TEXT)
gpt_bigcode = transformers("GPTBigCodeForCausalLM", TEXT)
gpt_neo = transformers("GPTNeoForCausalLM", TEXT, attention_types=[[["global", "local"], 1]], window_size=8)
gpt_neox = transformers("GPTNeoXForCausalLM", TEXT)
gpt_oss = transformers("GptOssForCausalLM", TEXT, EXPERTS, sliding_window=8)
gptj = transformers("GPTJForCausalLM", TEXT, rotary_dim=4)
granite = transformers("GraniteForCausalLM", TEXT)
granitemoe = transformers("GraniteMoeForCausalLM", TEXT, EXPERTS)
jamba = transformers("JambaForCausalLM", TEXT, EXPERTS, max_position_embeddings=14, use_mamba_kernels=False,
    attn_layer_period=2, attn_layer_offset=1, mamba_d_state=4)  # fmt: skip
lfm2 = transformers("Lfm2ForCausalLM", TEXT, layer_types=["conv", "full_attention"], block_multiple_of=8)
llama = transformers("LlamaForCausalLM", TEXT)
mamba = transformers("MambaForCausalLM", TEXT, state_size=4, max_position_embeddings=14)
mamba2 = transformers("Mamba2ForCausalLM", TEXT, num_heads=8, head_dim=8, state_size=8, n_groups=2, chunk_size=8,
    max_position_embeddings=18)  # fmt: skip
mistral = transformers("MistralForCausalLM", TEXT, sliding_window=8)
mixtral = transformers("MixtralForCausalLM", TEXT, EXPERTS)
modernbert_decoder = transformers("ModernBertDecoderForCausalLM", TEXT, local_attention=8)
mpt = transformers("MptForCausalLM", TEXT, d_model=32, n_heads=4, n_layers=2, max_seq_len=34)
nemotron = transformers("NemotronForCausalLM", TEXT)
olmo = transformers("OlmoForCausalLM", TEXT)
olmo2 = transformers("Olmo2ForCausalLM", TEXT)
openai_gpt = transformers("OpenAIGPTLMHeadModel", TEXT)
opt = transformers("OPTForCausalLM", TEXT, ffn_dim=64)
persimmon = transformers("PersimmonForCausalLM", TEXT)
phi = transformers("PhiForCausalLM", TEXT)
phi3 = transformers("Phi3ForCausalLM", TEXT)
phimoe = transformers("PhimoeForCausalLM", TEXT, EXPERTS)
qwen2 = transformers("Qwen2ForCausalLM", TEXT)
qwen3 = transformers("Qwen3ForCausalLM", TEXT)
qwen3_moe = transformers("Qwen3MoeForCausalLM", TEXT, EXPERTS)
recurrent_gemma = transformers("RecurrentGemmaForCausalLM", TEXT, block_types=["recurrent", "attention"],
    attention_window_size=8, max_position_embeddings=14)  # fmt: skip
rwkv = transformers("RwkvForCausalLM", TEXT, max_position_embeddings=14, context_length=12)
smollm3 = transformers("SmolLM3ForCausalLM", TEXT)
stablelm = transformers("StableLmForCausalLM", TEXT)
starcoder2 = transformers("Starcoder2ForCausalLM", TEXT)
xglm = transformers("XGLMForCausalLM", TEXT, d_model=32, ffn_dim=64, num_layers=2, attention_heads=4)
