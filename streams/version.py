"""The version of the project, as it is installed."""

from importlib.metadata import PackageNotFoundError, version

PRODUCT = "metric-streams"


def product_version() -> str:
    """Return the version; of sources that are not installed nothing is known."""
    try:
        return version(PRODUCT)
    except PackageNotFoundError:
        return "(not installed)"
