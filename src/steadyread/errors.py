"""What can go wrong, as one tree. Each message is one line: what was expected, what came, what to do."""

import errno
import re

from steadyread.names import shown

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))   # the disk, a quota, a limit of file sizes


class SteadyreadError(Exception):
    """Something was refused or failed. `exit_code` is what the command line returns for it.

    Its text is one line that can be printed anywhere: what a file's name holds beyond that is escaped.
    """

    exit_code = 3

    def __str__(self) -> str:
        return shown(re.sub(r"\s*[\r\n]+\s*", " ", super().__str__()))


class InputRefused(SteadyreadError):
    """Data, a model or its weights are not what they were stated to be."""


class HeadRefused(InputRefused):
    """What the network returns is not what its stated head returns."""


class NoClasses(InputRefused):
    """Nothing says of which class an image is."""


class NoGradient(InputRefused):
    """The model lets no gradient through to the image, so that only attacks without gradients can judge it."""


class Doubt(UserWarning):
    """A warning: something is taken as it was stated, and looks as if it were something else."""


class PlanDiffers(InputRefused):
    """The folder holds the records of another plan; the message names the difference."""


class TrainingFailed(InputRefused):
    """A training came to nothing: it diverged, or no size was found to train with. Of a hardening, a result."""


class UsageError(SteadyreadError):
    """A flag, a study's key or an argument cannot be understood."""

    exit_code = 2


class GateFailed(SteadyreadError):
    """The assessment is done, and a stated gate (`--fail-below`) was not met."""

    exit_code = 1


class Unforeseen(SteadyreadError):
    """A fault of ours: an exception that nothing here expects. EX_SOFTWARE of BSD's sysexits.h."""

    exit_code = 70


class PipeClosed(SteadyreadError):
    """What reads our output ended before all of it was written. 128 and SIGPIPE, as shells count it."""

    exit_code = 141


class Partial(SteadyreadError):
    """Part of the work is done and kept (a full disk, say); the same command goes on from there."""

    exit_code = 4


def first_line(problem: BaseException) -> str:
    """The first line of what an exception says; its kind where it says nothing."""
    return next(iter(str(problem).strip().splitlines()), type(problem).__name__)


def unwritable(path: object, problem: OSError) -> InputRefused | Partial:
    """What to raise where writing failed: `Partial` for a full disk, quota or file size limit, else a refusal."""
    if problem.errno in FULL:
        return Partial(f"no room to write {path}: {problem.strerror}. What was finished is kept: make room and run "
                       "the same command again")
    return InputRefused(f"cannot write {path}: {problem.strerror or problem}; choose another --out folder")
