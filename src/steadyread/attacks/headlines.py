"""What printing a result shows: what came out, and never its tensors."""

from dataclasses import fields

from torch import Tensor


def of_flips(result: object, flipped: Tensor) -> str:
    """Of `flipped` (n,): how many images are."""
    return _with_fields(result, f"{len(flipped)} images: {int(flipped.sum())} flipped")


def of_probability(result: object, probability: Tensor) -> str:
    """Of `probability` (n, doses): its median and largest value over the images, dose by dose."""
    images, doses = probability.shape
    each = "; ".join(f"{float(column.median()):.2g} and {float(column.max()):.2g}" for column in probability.T) \
        if images else "none"
    return _with_fields(result, f"{images} images at {doses} dose{'s' * (doses != 1)}: median and largest P(flip) "
                        f"{each}")


def _with_fields(result: object, words: str) -> str:
    names = ", ".join(each.name for each in fields(result))  # type: ignore[arg-type]
    return f"{type(result).__name__}({words}; fields: {names})"
