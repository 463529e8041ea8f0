"""The languages of the dashboard: its words, numbers and dates."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from importlib import resources
from typing import Any

CODES = ("en", "uk")
"""Each has a table of words in ``texts/``; the first is for those who read none."""

DASH = "\N{EN DASH}"
"""Where there is nothing to tell."""

SECOND_MS = 1000

_EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)
"""Of our own: what an app does to its decimal context must not change a figure."""

_LEAST, _MOST, _ALL = Decimal("0.1"), Decimal("99.9"), Decimal(100)

_SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"))


@dataclass(frozen=True, slots=True)
class Language:
    """Words by key, and how numbers, money and times are written.

    The conventions are those of CLDR (https://cldr.unicode.org) for English and
    Ukrainian, with the dollar as ``$``.
    """

    code: str
    texts: Mapping[str, Any]

    def text(self, key: str, **values: object) -> str:
        """Return the words of a key, filled in."""
        text: str = self.texts[key]
        return text.format(**values) if values else text

    def count(self, key: str, number: int) -> str:
        """Return the words of a key in the form that goes with a number."""
        form: str = self.texts[key][plural(self.code, number)]
        return form.format(count=self.number(number))

    def number(
        self, value: Decimal | int, places: int = 0, *, least: int | None = None
    ) -> str:
        """Write a number with separators.

        :param least: of the decimal places, how many stay though they are zeros.
        """
        rounded = Decimal(value).quantize(Decimal(1).scaleb(-places), context=_EXACT)
        whole, _, rest = f"{rounded:,f}".partition(".")
        if least is not None:
            rest = rest[:least] + rest[least:].rstrip("0")
        text = whole.replace(",", self.texts["group"])
        return f"{text}{self.texts['decimal']}{rest}" if rest else text

    def compact(self, value: int) -> str:
        """Write a large number with three digits: ``1.23M``."""
        # Written from 999 500 on as a million, and not as a thousand thousands.
        for scale, name in _SCALES:
            if value * 2000 >= scale * 1999:
                number = _EXACT.divide(Decimal(value), Decimal(scale))
                written = self.number(number, _places(number, 3), least=0)
                return self.text(name, number=written)
        return self.number(value)

    def money(self, nanos: int) -> str:
        """Write nano-USD: cents from a dollar on, two digits that count below."""
        return self.dollars(Decimal(nanos).scaleb(-9, context=_EXACT))

    def dollars(self, amount: Decimal) -> str:
        """Write dollars, likewise."""
        return self.text("money", amount=self.number(amount, _money_places(amount)))

    def money_mark(self, nanos: int, step: int) -> str:
        """Write nano-USD as a mark of an axis whose marks are a step apart."""
        finest = Decimal(step).scaleb(-9, context=_EXACT).adjusted()
        places = 0 if finest >= 0 else max(2, -finest)
        amount = Decimal(nanos).scaleb(-9, context=_EXACT)
        return self.text("money", amount=self.number(amount, places))

    def duration_mark(self, milliseconds: int, step: int) -> str:
        """Write milliseconds as a mark of an axis whose marks are a step apart."""
        seconds = Decimal(milliseconds).scaleb(-3, context=_EXACT)
        places = max(0, -Decimal(step).scaleb(-3, context=_EXACT).adjusted())
        return self.text("seconds", number=self.number(seconds, places))

    def percent(self, part: int, whole: int) -> str:
        """Write a share; little never looks like nothing, nor nearly all like all."""
        share = _EXACT.divide(Decimal(100 * part), Decimal(whole or 1))
        if 0 < share < _LEAST:
            edge = self.text("percent", number=self.number(_LEAST, 1))
            return self.text("below", number=edge)
        if _MOST < share < _ALL:
            edge = self.text("percent", number=self.number(_MOST, 1))
            return self.text("above", number=edge)
        places = 0 if share in {0, _ALL} else 1
        return self.text("percent", number=self.number(share, places))

    def duration(self, milliseconds: int | None) -> str:
        """Write milliseconds, as seconds from one on."""
        if milliseconds is None:
            return DASH
        if milliseconds < SECOND_MS:
            return self.text("milliseconds", number=self.number(milliseconds))
        seconds = Decimal(milliseconds).scaleb(-3, context=_EXACT)
        return self.text("seconds", number=self.number(seconds, _places(seconds, 3)))

    def day(self, day: date) -> str:
        """Write a day in full."""
        month = self.texts["months"][day.month - 1]
        return self.text("date", day=day.day, month=month, year=day.year)

    def day_short(self, day: date) -> str:
        """Write a day of a year that is known."""
        month = self.texts["months_short"][day.month - 1]
        return self.text("date_short", day=day.day, month=month)

    def month(self, day: date) -> str:
        """Write a month."""
        month = self.texts["months_alone"][day.month - 1]
        return self.text("month", month=month, year=day.year)

    def month_short(self, day: date) -> str:
        """Write a month, short."""
        return f"{self.texts['months_short'][day.month - 1]} {day.year}"

    def moment(self, at: datetime) -> str:
        """Write a time of a day of this year."""
        return self.text("moment", date=self.day_short(at), time=f"{at:%H:%M}")


@functools.cache
def language(code: str) -> Language:
    """Return a language by its code."""
    table = resources.files(__package__).joinpath("texts", f"{code}.json")
    return Language(code, json.loads(table.read_text("utf-8")))


def plural(code: str, number: int) -> str:
    """Return the name of the form that a word has beside a number.

    The rules are CLDR's
    (https://www.unicode.org/cldr/charts/latest/supplemental/language_plural_rules.html).
    """
    if code == "en":
        return "one" if number == 1 else "other"
    ones, tens = number % 10, number % 100
    if ones == 1 and tens != 11:  # noqa: PLR2004 - the rule as CLDR writes it
        return "one"
    return "few" if 2 <= ones <= 4 and not 12 <= tens <= 14 else "many"  # noqa: PLR2004


def _places(number: Decimal, digits: int) -> int:
    """Return the decimal places that leave so many digits."""
    return max(0, digits - 1 - max(0, number.adjusted()))


def _money_places(amount: Decimal) -> int:
    if not amount or abs(amount) >= 1:
        return 2
    return max(2, 1 - amount.adjusted())
