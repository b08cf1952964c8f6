"""Self-attention within windows of a map (Liu et al. 2021, arXiv 2103.14030, section 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segbench.core.spec import Size

FORBIDDEN = -100.0  # what the authors add to a score that the mask forbids


class WindowAttention(nn.Module):
    """Multi-head attention among the tokens of a window, with a learnt bias for each relative position (equation 4)."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, *, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", relative_positions(window), persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within each window.

        Args:
            windows: (N, n, T, c), T tokens of each of n windows.
            mask: (n, T, T) to add to the scores, or None.

        Returns:
            The same shape as ``windows``.
        """
        images, number, tokens, channels = windows.shape
        # windows and heads as one dimension: the bias is then one for all images
        query, key, value = (
            self.qkv(windows)
            .view(images, number, tokens, 3, self.heads, channels // self.heads)
            .permute(3, 0, 1, 4, 2, 5)
            .flatten(2, 3)
            .unbind(0)
        )
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)
        scores = bias.expand(number, -1, -1, -1) if mask is None else bias + mask.to(bias.dtype)[:, None]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=scores.flatten(0, 1)[None])
        attended = attended.unflatten(1, (number, self.heads)).transpose(2, 3).flatten(3)
        result: Tensor = self.proj(attended)
        return result


def split_windows(x: Tensor, window: int) -> Tensor:
    """Cut (N, h, w, c), whose sides are whole windows, into (N, n, T, c), row by row."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # (N, rows, window, columns, window, c)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def join_windows(windows: Tensor, size: Size, window: int) -> Tensor:
    """Invert `split_windows` for a map of ``size``."""
    rows, columns = size[0] // window, size[1] // window
    x = windows.unflatten(2, (window, window)).unflatten(1, (rows, columns))
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def shift_mask(x: Tensor, window: int, *, shift: int) -> Tensor:
    """Compute the attention mask of shifted windows (section 3.2, figure 4).

    Args:
        x: (N, h, w, c), the map before padding and shifting.
        window: side of the windows.
        shift: tokens by which the padded map is shifted.

    Returns:
        (n, T, T): 0 where two tokens of a window were neighbours before the shift, else -100.
    """
    regions = []
    for side in x.shape[1:3]:
        padded = side + -side % window
        position = torch.arange(padded, device=x.device)
        regions.append((position >= padded - window).int() + (position >= padded - shift).int())
    region = 3 * regions[0][:, None] + regions[1]
    tokens = split_windows(region[None, :, :, None], window)[0, :, :, 0]
    return torch.where(tokens[:, :, None] == tokens[:, None], 0.0, FORBIDDEN)


def relative_positions(window: int) -> Tensor:
    """Return the (T, T) rows of the bias table, one for each difference of two tokens' positions."""
    position = torch.arange(window)
    difference = position[:, None] - position + window - 1
    table = difference[:, None, :, None] * (2 * window - 1) + difference[None, :, None, :]
    return table.reshape(window**2, window**2)
