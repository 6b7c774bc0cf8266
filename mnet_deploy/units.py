"""Numbers for people: the one place where SI values are scaled and rounded."""

KIB = 1024


def format_count(count: int | float) -> str:
    """Return a count (MACs, parameters, bytes moved) as thousands, millions or billions, e.g. `568.7 M`."""
    for limit, divisor, suffix in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e3, 1e3, " k")):
        if abs(count) >= limit:
            return f"{count / divisor:.2f}{suffix}" if suffix == " G" else f"{count / divisor:.1f}{suffix}"
    return f"{count:.0f}"


def format_bytes(size_bytes: int) -> str:
    """Return a size as B, KiB, MiB or GiB (powers of 1024)."""
    if size_bytes < KIB:
        return f"{size_bytes} B"
    if size_bytes < KIB * KIB:
        return f"{size_bytes / KIB:.1f} KiB"
    if size_bytes < KIB * KIB * KIB:
        return f"{size_bytes / KIB / KIB:.2f} MiB"
    return f"{size_bytes / KIB / KIB / KIB:.1f} GiB"


def format_kib(size_bytes: int) -> str:
    """Return a size in KiB with two decimals, as embedded tool chains print it, e.g. `4157.09 KiB`."""
    return f"{size_bytes / KIB:.2f} KiB"


def format_seconds(duration_s: float) -> str:
    """Return a duration as us, ms or s with three significant digits."""
    for limit, factor, suffix in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if duration_s < limit:
            return f"{duration_s * factor:.3g} {suffix}"
    return f"{duration_s:.3g} s"


def format_megabytes(size_bytes: float) -> str:
    """Return a size in MB (a million bytes), as limits of stores and downloads are given, e.g. `1.47 MB`."""
    megabytes = size_bytes / 1e6
    return f"{megabytes:.{2 if megabytes < 10 else 1}f} MB"
