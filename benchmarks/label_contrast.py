"""Label-based contrast at the published size: time over its dense products, peak memory over the dense form's.

    python benchmarks/label_contrast.py

Across images at 65 x 65 features of 256 channels, one image, one thread. The dense products are the matrix products
that any exact form needs: anchors with keys, and their two gradients. Peak memory is what the allocator of the profiler
reports beyond the inputs.
"""

import torch
from timing import median_seconds
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from segbench.losses.label_contrast import label_contrast

PIXELS, DIM, CLASSES, TAU = 65 * 65, 256, 19, 0.07


def dense(first, second, labels, partners, form):
    """The same losses with whole matrices and autograd."""
    other, others = second[partners], labels[partners]
    both = torch.cat([labels, others], 1)
    own = torch.arange(2 * PIXELS) < PIXELS
    anchors = first if form == "paper" else torch.cat([first, other], 1)
    mine = labels if form == "paper" else both
    keys = torch.cat([second if form == "paper" else first, other], 1)
    logits = anchors @ keys.transpose(1, 2) / TAU
    same = mine[:, :, None] == both[:, None]
    if form == "paper":
        total = logits.masked_fill(~(same | own), -1e30).logsumexp(2, keepdim=True)
        terms = total - logits
    else:
        below = logits.masked_fill(same | (own[:, None] != own), -1e30).logsumexp(2, keepdim=True)
        terms = F.softplus(below - logits)
    return ((terms * same).sum(2) / same.sum(2).clamp(min=1)).mean()


def products(first, second, partners, form):
    anchors = first if form == "paper" else torch.cat([first, second[partners]], 1)
    keys = torch.cat([second, second[partners]], 1)
    matrix = anchors @ keys.transpose(1, 2)
    matrix @ keys
    matrix.transpose(1, 2) @ anchors


def peak(function):
    """Return the most bytes that were allocated at once while a function ran."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        function()
    now = most = 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    views = [F.normalize(torch.randn(1, PIXELS, DIM), dim=2).requires_grad_() for _ in range(2)]
    # 13 x 13 regions, as labels of a picture are
    labels = torch.randint(0, CLASSES, (13, 13)).repeat_interleave(5, 0).repeat_interleave(5, 1).reshape(1, -1)
    partners = torch.zeros(1, dtype=torch.int64)
    for form in ("paper", "released"):

        def ours(form=form):
            return label_contrast(*views, labels, num_classes=CLASSES, form=form, partners=partners)

        def whole(form=form):
            return dense(*views, labels, partners, form)

        def step(loss):
            for view in views:
                view.grad = None
            loss().backward()

        gap = abs(ours().item() - whole().item())
        with torch.no_grad():
            least = median_seconds(lambda form=form: products(*views, partners, form))
        mine, theirs = median_seconds(lambda: step(ours)), median_seconds(lambda: step(whole))
        memory = peak(lambda: step(ours)), peak(lambda: step(whole))
        print(f"{form}: losses differ by {gap:.1e}")
        print(f"  dense products             {1e3 * least:8.0f} ms  x 1.00")
        print(f"  segbench                   {1e3 * mine:8.0f} ms  x {mine / least:.2f} (target: at most 2)")
        print(f"  whole matrices, autograd   {1e3 * theirs:8.0f} ms  x {theirs / least:.2f}")
        share = memory[0] / memory[1]
        print(f"  peak memory {memory[0] / 1e6:.0f} of {memory[1] / 1e6:.0f} MB: {share:.3f} (target: at most 0.25)")


if __name__ == "__main__":
    main()
