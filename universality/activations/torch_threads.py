"""How many cores PyTorch's operators use in one thread of this process."""

import torch


def keep_threads(n_threads: int) -> None:
    """Give PyTorch's operators so many cores in the calling thread, whatever other threads set later.

    A thread's first operator takes over the number that any thread set last, also where this thread had set its own
    before: how sums are cut, and so their last bits, would depend on which thread came first. Asking for the number
    has that behind it (``at::init_num_threads``).
    """
    torch.get_num_threads()
    torch.set_num_threads(n_threads)
