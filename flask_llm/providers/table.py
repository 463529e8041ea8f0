"""The providers that are built in.

Base URLs, names of variables and quirks: each provider's public API reference as of
November 2026.
"""

from __future__ import annotations

from dataclasses import replace

from flask_llm.providers.provider import Provider
from flask_llm.providers.quirks import Quirks

_OPENAI = Quirks(
    max_tokens="max_completion_tokens",
    developer_role=True,
    strict=True,
    obfuscation=True,
    loose_arguments=True,
    prompt_cache=True,
    embed_base64=True,
    # OpenAI takes 2,048; so many vectors of 3,072 would pass LLM_MAX_RESPONSE_BYTES.
    embed_texts=1_024,
    embed_tokens=300_000,
)


def _compatible(
    name: str, base_url: str, *key_names: str, quirks: Quirks | None = None
) -> Provider:
    return Provider(
        name=name, base_url=base_url, key_names=key_names, quirks=quirks or Quirks()
    )


def _local(
    name: str, base_url: str, quirks: Quirks | None = None, **names: tuple[str, ...]
) -> Provider:
    return Provider(
        name=name,
        base_url=base_url,
        needs_key=False,
        quirks=quirks or Quirks(),
        **names,  # type: ignore[arg-type]
    )


BUILT_IN: tuple[Provider, ...] = (
    Provider(
        name="openai",
        mixed=True,
        base_url="https://api.openai.com/v1",
        key_names=("OPENAI_API_KEY",),
        url_names=("OPENAI_BASE_URL",),
        quirks=replace(_OPENAI, counts_tokens=True),
    ),
    Provider(
        name="anthropic",
        protocol="anthropic_messages",
        base_url="https://api.anthropic.com",
        auth="x-api-key",
        key_names=("ANTHROPIC_API_KEY",),
        url_names=("ANTHROPIC_BASE_URL",),
    ),
    Provider(
        name="google",
        protocol="generate_content",
        base_url="https://generativelanguage.googleapis.com",
        auth="x-goog-api-key",
        key_names=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        url_names=("GOOGLE_GEMINI_BASE_URL",),
    ),
    Provider(
        name="azure",
        base_url="",
        auth="api-key",
        key_names=("AZURE_OPENAI_API_KEY",),
        url_names=("AZURE_OPENAI_ENDPOINT",),
        quirks=_OPENAI,
    ),
    _compatible("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    _compatible(
        "mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        quirks=Quirks(
            required="any",
            seed="random_seed",
            stream_usage=False,
            short_tool_ids=True,
            dimensions="output_dimension",
        ),
    ),
    _compatible(
        "deepseek",
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        quirks=Quirks(echo=("reasoning_content",), json_schema=False),
    ),
    _compatible("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    _compatible(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        quirks=Quirks(echo=("reasoning_details",)),
    ),
    _compatible("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    _compatible(
        "fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"
    ),
    _compatible(
        "cerebras",
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        quirks=Quirks(parallel_tool_calls=False),
    ),
    _compatible(
        "zai",
        "https://api.z.ai/api/paas/v4",
        "ZAI_API_KEY",
        quirks=Quirks(echo=("reasoning_content",)),
    ),
    _compatible(
        "moonshot",
        "https://api.moonshot.ai/v1",
        "MOONSHOT_API_KEY",
        "MOONSHOTAI_API_KEY",
        quirks=Quirks(required=""),
    ),
    _compatible(
        "qwen",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
    ),
    _compatible("crusoe", "https://api.inference.crusoecloud.com/v1", "CRUSOE_API_KEY"),
    Provider(
        name="heroku",
        base_url="https://us.inference.heroku.com/v1",
        key_names=("INFERENCE_KEY",),
        url_names=("INFERENCE_URL",),
    ),
    _compatible("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN"),
    _local(
        "ollama",
        "http://localhost:11434/v1",
        Quirks(image_urls=False),
        key_names=("OLLAMA_API_KEY",),
        url_names=("OLLAMA_BASE_URL",),
    ),
    _local("vllm", "http://localhost:8000/v1"),
    _local("llama.cpp", "http://localhost:8080/v1"),
    _local("lmstudio", "http://localhost:1234/v1"),
)
