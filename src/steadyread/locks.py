"""One thread at a time works with a module, or with another that shares a part of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import nn

_LOCKS: "WeakKeyDictionary[nn.Module, Any]" = WeakKeyDictionary()   # of a class that has no public name
_MAKING = Lock()


@contextmanager
def alone(module: "nn.Module") -> Iterator[None]:
    """Within, no other thread is within for this module or for one that shares a part of it; it waits.

    The same thread may enter again. Locks are taken in one order, so that two threads never wait for each other.
    """
    with _MAKING:
        locks = [_LOCKS.setdefault(part, RLock()) for part in sorted(module.modules(), key=id)]
    with ExitStack() as held:
        for lock in locks:
            held.enter_context(lock)
        yield
