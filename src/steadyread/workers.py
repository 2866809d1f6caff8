"""Independent pieces of work side by side, one process each: on small tensors two processes beat two threads."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from steadyread.errors import Partial

T = TypeVar("T")


def workers_for(pieces: int) -> int:
    """How many processes so many pieces of work get: one a thread that torch may use, one alone on a GPU."""
    return 1 if torch.cuda.is_available() else max(1, min(pieces, torch.get_num_threads()))


def side_by_side(work: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T]]:
    """`work(*call)` for every call, as (place of the call, answer) in the order in which they end.

    With one worker they are done here, one after another. Else `work`, its arguments and its answers must be
    picklable; each process gets its share of the threads, and dies with this one. Work that is cut off must leave
    whole files only.

    Raises:
        Partial: a process was killed from outside.
    """
    workers = workers_for(len(calls))
    if workers == 1:
        for place, call in enumerate(calls):
            yield place, work(*call)
        return
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (threads,)) as pool:
        waiting: dict[Future[T], int] = {pool.submit(work, *call): place for place, call in enumerate(calls)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException as problem:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            if isinstance(problem, BrokenProcessPool):
                raise Partial("a worker was killed from outside (out of memory?). What was finished is kept: run "
                              "the same command again, with --threads 1 if memory is short") from problem
            raise


def _begin(threads: int) -> None:
    """A worker: its share of the threads, and no life beyond its parent, whose folder it writes into."""
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
