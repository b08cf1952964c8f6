"""Memory by PyTorch's own profiler: an account of the allocator, not of the code under test."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def held_bytes(run: Callable[[], object]) -> int:
    """Return the bytes on the CPU that ``run`` allocates and does not free; its result is still alive."""
    run()  # workspaces of libraries are allocated once and do not count
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        result = run()
    count = sum(event.self_cpu_memory_usage for event in found.key_averages())
    del result
    return int(count)
