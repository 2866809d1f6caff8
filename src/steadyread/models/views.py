"""One finding of a network of several: a view of the network, which is shared by all of them."""

from jaxtyping import Float
from torch import Tensor, nn

from steadyread.errors import InputRefused
from steadyread.heads import rows_of, tensor_of


class OneFinding(nn.Module):
    """The value of the finding at a `place` among the `names`, (n,), of a network that returns one of each, (n, k).

    Its place stands in its `repr`, and so in the digest of the records.
    """

    def __init__(self, network: nn.Module, place: int, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.place = place
        self.names = names

    def forward(self, images: Tensor) -> Float[Tensor, " n"]:
        """The value of the finding.

        Raises:
            InputRefused: the network returns another number of values.
        """
        return self.values(images)[:, self.place]

    def values(self, images: Tensor) -> Float[Tensor, "n k"]:
        """The values of all findings.

        Raises:
            InputRefused: the network returns another number of values.
        """
        count, returned = len(self.names), tensor_of(self.network(images), "logits")
        if count == 1:
            return rows_of(returned, len(images), "logit")[:, None]
        rows = rows_of(returned, len(images), "logits")
        if rows.shape[1] != count:
            raise InputRefused(f"the network returns {rows.shape[1]} values an image, and {count} findings are "
                               "named: name the finding of each value, in their order")
        return rows

    def extra_repr(self) -> str:
        """Which finding of how many."""
        return f"finding {self.place + 1} of {len(self.names)}"
