"""Number of cores that PyTorch's operators use in one thread of this process."""

import torch


def keep_threads(n_threads: int) -> None:
    """Fix the number of cores for PyTorch's operators in the calling thread, whatever other threads set later.

    A thread's first operator adopts the number that any thread set last, even if this thread has set its own before.
    The cutting of sums, and with it their last bits, would then depend on which thread came first.
    """
    # Reading the number triggers that adoption (at::init_num_threads) now, so that it cannot happen later.
    torch.get_num_threads()
    torch.set_num_threads(n_threads)
