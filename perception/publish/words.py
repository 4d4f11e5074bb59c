"""Sentences from numbers (being written on another branch)."""


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th ..."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def rank_words(low: int, high: int, count: int) -> str:
    """A rank set in words, such as `between 3rd and 14th of 32`."""
    return f"{ordinal(low)} of {count}" if low == high else f"between {ordinal(low)} and {ordinal(high)} of {count}"


def rank_range(low: int, high: int) -> str:
    """`3rd`, or `3rd to 14th`."""
    return ordinal(low) if low == high else f"{ordinal(low)} to {ordinal(high)}"
