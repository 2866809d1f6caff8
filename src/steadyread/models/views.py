"""One finding of a network of several: a view of the network, which is shared by all of them."""

from torch import Tensor, nn

from steadyread.errors import InputRefused
from steadyread.heads import rows_of, tensor_of


class OneFinding(nn.Module):
    """The value of one finding, (n,), of a network that returns one for each of `count`, (n, count).

    Its place stands in its `repr`, and so in the digest of the records.
    """

    def __init__(self, network: nn.Module, place: int, count: int) -> None:
        super().__init__()
        self.network = network
        self.place = place
        self.count = count

    def forward(self, images: Tensor) -> Tensor:
        """The value of the finding.

        Raises:
            InputRefused: the network returns another number of values.
        """
        returned = tensor_of(self.network(images), "logits")
        if self.count == 1:
            return rows_of(returned, len(images), "logit")
        rows = rows_of(returned, len(images), "logits")
        if rows.shape[1] != self.count:
            raise InputRefused(f"the network returns {rows.shape[1]} values an image, and {self.count} findings are "
                               "named: name the finding of each value, in their order")
        return rows[:, self.place]

    def extra_repr(self) -> str:
        """Which finding of how many."""
        return f"finding {self.place + 1} of {self.count}"
