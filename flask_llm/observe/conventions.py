"""The names that OpenTelemetry's conventions for generative AI give to things.

They are in development, and names change. Two versions are known here: 1.41.0, the last
that was published with the general conventions, and the one that is being written in
https://github.com/open-telemetry/semantic-conventions-genai, as of September 2026. In
both, ``input_tokens`` includes what was read from and written to a prompt cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LATEST = "gen_ai_latest_experimental"
"""The word in ``OTEL_SEMCONV_STABILITY_OPT_IN`` that asks for the newer one."""

OPERATIONS = {"complete": "chat", "embed": "embeddings"}

PROVIDERS = {
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""Providers that are called otherwise there; all others have one name."""

SECONDS = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
"""Bounds of the buckets of durations."""

TOKENS = tuple(4**power for power in range(14))
"""Bounds of the buckets of tokens: 1 to 67,108,864."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One metric of tokens."""

    name: str
    column: str
    """What it takes from the ledger's row."""
    labels: Mapping[str, str]
    is_counter: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """What one version of the conventions says."""

    schema_url: str
    durations: Mapping[str, str]
    """The metric of each operation's duration."""
    first_chunk: str
    cache_write: str
    tokens: tuple[Tokens, ...]


def _usage(name: str, column: str) -> Tokens:
    return Tokens(
        name=f"gen_ai.client.inference.usage.{name}",
        column=column,
        # Providers do not say of all tokens what they stand for.
        labels={"gen_ai.token.modality": "unknown"},
        is_counter=True,
    )


V1_41 = Convention(
    schema_url="https://opentelemetry.io/schemas/1.41.0",
    durations=dict.fromkeys(OPERATIONS.values(), "gen_ai.client.operation.duration"),
    first_chunk="gen_ai.client.operation.time_to_first_chunk",
    cache_write="gen_ai.usage.cache_creation.input_tokens",
    tokens=tuple(
        Tokens(
            name="gen_ai.client.token.usage",
            column=f"{kind}_tokens",
            labels={"gen_ai.token.type": kind},
        )
        for kind in ("input", "output")
    ),
)

EXPERIMENTAL = Convention(
    schema_url="https://opentelemetry.io/schemas/gen-ai/1.42.0",
    durations={
        "chat": "gen_ai.client.inference.duration",
        "embeddings": "gen_ai.client.operation.duration",
    },
    first_chunk="gen_ai.client.inference.time_to_first_chunk",
    cache_write="gen_ai.usage.cache_write.input_tokens",
    tokens=(
        _usage("input_tokens", "input_tokens"),
        _usage("output_tokens", "output_tokens"),
        _usage("cache_read.input_tokens", "cache_read_tokens"),
        _usage("cache_write.input_tokens", "cache_write_tokens"),
        _usage("reasoning.output_tokens", "reasoning_tokens"),
        *(
            Tokens(
                name=f"gen_ai.client.inference.operation.{kind}_tokens",
                column=f"{kind}_tokens",
                labels={},
            )
            for kind in ("input", "output")
        ),
    ),
)


def convention(opt_in: str) -> Convention:
    """Choose by ``OTEL_SEMCONV_STABILITY_OPT_IN``: words with commas in between."""
    words = {word.strip() for word in opt_in.split(",")}
    return EXPERIMENTAL if LATEST in words else V1_41
