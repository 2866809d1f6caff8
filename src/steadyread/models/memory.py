"""How much memory a network that a file brought may take to answer: its graph may ask for any, by a few bytes."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from steadyread.errors import InputRefused

_FREE = 2**29       # bytes that any network may take to answer
_TIMES = 1024       # its images, which may take so many times their own bytes: activations, kept for the gradient
_STACK = 2**24      # of a thread that torch may begin
_STATUS, _DATA = Path("/proc/self/statm"), 5       # where Linux says what this process holds, in pages
_LACKING = re.compile(r"allocat|bad_alloc|enough memory|out of memory|could not create a|Unable to mmap", re.I)


@contextmanager
def bounded(images: torch.Tensor, stored: int) -> Iterator[None]:
    """Within, this process may take half a gigabyte more than it has, and as much as honest networks do for such
    `images` and so many `stored` bytes of weights. Where Linux counts it, and on a CPU.

    Raises:
        InputRefused: more was asked for.
    """
    if images.device.type != "cpu" or not sys.platform.startswith("linux"):
        yield
        return
    import resource  # which Windows lacks

    most = _FREE + _TIMES * images.nbytes + 4 * stored
    before = resource.getrlimit(resource.RLIMIT_DATA)
    held = int(_STATUS.read_text().split()[_DATA]) * resource.getpagesize()
    limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
    wanted = held + most + _STACK * torch.get_num_threads()
    resource.setrlimit(resource.RLIMIT_DATA, (min([wanted, *limits]), before[1]))
    try:
        yield
    except MemoryError as problem:
        raise _refused(images, most) from problem
    except RuntimeError as problem:
        if _LACKING.search(str(problem)):
            raise _refused(images, most) from problem
        raise
    finally:
        with suppress(ValueError):      # a network of the user's own may have changed it
            resource.setrlimit(resource.RLIMIT_DATA, before)


def _refused(images: torch.Tensor, most: int) -> InputRefused:
    return InputRefused(f"the network asks for more than {most / 2**20:,.0f} MB of memory for images of the shape "
                        f"{tuple(images.shape)}, more than any such network takes: its file is damaged or hostile. If "
                        "it is neither, give the module as package.module:factory")
