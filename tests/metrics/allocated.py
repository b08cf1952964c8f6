"""What PyTorch's own profiler says of memory: an account of the allocator, not of the code under test."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def held_bytes(run: Callable[[], object]) -> int:
    """Bytes on the CPU that are allocated while ``run`` runs and not given back; its result is still alive."""
    run()  # what is allocated once, as a library's workspace, is no part of a step
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        result = run()
    count = sum(event.self_cpu_memory_usage for event in found.key_averages())
    del result
    return int(count)
