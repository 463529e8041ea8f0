"""What a call cost: a model and its usage in, dollars out, or an honest ``None``.

Prices come from ``prices.json`` beside this package, which is made from
genai-prices, and from ``LLM_PRICES``, which wins.
"""

from flask_llm.pricing.prices import Cost, Explanation, Prices, Rate, cost

__all__ = ["Cost", "Explanation", "Prices", "Rate", "cost"]
