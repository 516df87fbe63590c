"""How many digits a currency has after the point, and what its amounts look like (ISO 4217)."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

# Codes whose minor unit is not a hundredth; every other code of ISO 4217 has two digits.
_NONE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
_DIGITS = (
    dict.fromkeys(_NONE.split(), 0)
    | dict.fromkeys(_THREE.split(), 3)
    | dict.fromkeys(_FOUR.split(), 4)
)
_TWO = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN "
    "BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
    "GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP "
    "LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR "
    "NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN "
    "SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR "
    "ZMW ZWG"
)
CURRENCIES = frozenset(_TWO.split()) | frozenset(_DIGITS)


def digits(currency: str) -> int:
    """Return the digits after the point of a currency's amounts: EUR 2, JPY 0, KWD 3."""
    return _DIGITS.get(currency, 2)


def read_amount(text: str, *, most: int, longest: int) -> Decimal | None:
    """Return an amount from 0 to another as a person types it; None for anything else."""
    try:
        amount = Decimal(text.strip().replace(",", "."))
    except InvalidOperation:
        return None
    fits = amount.is_finite() and 0 <= amount <= most and len(text) <= longest
    return amount if fits else None


def amount(minor: int, currency: str) -> Decimal:
    """Return an amount of minor units (cents) as a decimal with the currency's digits."""
    return Decimal(minor).scaleb(-digits(currency))


def amount_text(minor: int, currency: str) -> str:
    """Return an amount as text with exactly the currency's digits, such as `45.60`."""
    return f"{amount(minor, currency):f}"
