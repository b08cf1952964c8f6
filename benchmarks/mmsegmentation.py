"""MMSegmentation's own networks with random weights against the same weights read by segbench.

Run ``python -m benchmarks.mmsegmentation`` in an environment that has segbench and, installed without their
dependencies, mmsegmentation 1.2.2, mmcv-lite 2.1, mmengine, addict, yapf, termcolor, prettytable, ftfy and regex. Of
mmcv the compiled operators are not needed: names stand in for them, which no network here calls. Each network is built
from the configuration that MMSegmentation ships, saved, and opened as any checkpoint; both answer the same images.
"""

import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from segbench.checkpoints import families
from segbench.checkpoints.open import OpenedForeign, open_foreign

ODD, EVEN = (129, 257), (96, 160)
_CITYSCAPES = "4xb2-80k_cityscapes-512x1024"
# Configurations, and the sizes at which answers are compared.
NETWORKS = {
    f"pspnet/pspnet_r50-d8_{_CITYSCAPES}": (ODD, EVEN),
    "pspnet/pspnet_r101-d8_4xb4-160k_ade20k-512x512": (ODD, EVEN),
    f"deeplabv3/deeplabv3_r50-d8_{_CITYSCAPES}": (ODD, EVEN),
    f"deeplabv3/deeplabv3_r101-d8_{_CITYSCAPES}": (ODD, EVEN),
    f"deeplabv3plus/deeplabv3plus_r50-d8_{_CITYSCAPES}": (ODD, EVEN),
    f"deeplabv3plus/deeplabv3plus_r50b-d8_{_CITYSCAPES}": (ODD, EVEN),
    "hrnet/fcn_hr18s_4xb2-160k_cityscapes-512x1024": (ODD, EVEN),
    "hrnet/fcn_hr48_4xb2-160k_cityscapes-512x1024": (ODD, EVEN),
    "ocrnet/ocrnet_hr48_4xb2-160k_cityscapes-512x1024": (ODD, EVEN),
    "ocrnet/ocrnet_r101-d8_8xb2-80k_cityscapes-512x1024": (ODD, EVEN),
    f"mobilenet_v2/mobilenet-v2-d8_deeplabv3_{_CITYSCAPES}": (ODD, EVEN),
    f"mobilenet_v2/mobilenet-v2-d8_deeplabv3plus_{_CITYSCAPES}": (ODD, EVEN),
}
_ADE20K = "8xb2-160k_ade20k-512x512"
TRANSFORMERS = {
    "segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024": (ODD, EVEN),
    f"segformer/segformer_mit-b2_{_ADE20K}": (ODD, EVEN),
    "segformer/segformer_mit-b5_8xb1-160k_cityscapes-1024x1024": (ODD, EVEN),
    f"swin/swin-tiny-patch4-window7-in1k-pre_upernet_{_ADE20K}": (ODD, EVEN),
    f"swin/swin-base-patch4-window12-in1k-384x384-pre_upernet_{_ADE20K}": (ODD, EVEN),
}


class _Operators(ModuleType):
    """Stands for mmcv's compiled operators: they can be looked up, but not called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def published_network(configuration: str) -> nn.Module:
    """The network of a configuration with random weights and statistics, in evaluation mode."""
    return randomised(bare_network(configuration))


def bare_network(configuration: str) -> nn.Module:
    """The network of a configuration on the current device, which may be ``meta``."""
    sys.modules.setdefault("mmcv._ext", _Operators("mmcv._ext"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mmseg
        from mmengine import Config
        from mmseg.registry import MODELS
        from mmseg.utils import register_all_modules

        register_all_modules()
        file = Path(mmseg.__file__).parent / ".mim/configs" / f"{configuration}.py"
        model = Config.fromfile(str(file)).model
        model.pretrained = None
        network: nn.Module = MODELS.build(_on_one_device(model))
    return network


def _on_one_device(settings: Any) -> Any:
    """The same settings, with plain batch norm in the place of the synchronised one."""
    if isinstance(settings, dict):
        return {key: _on_one_device(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [_on_one_device(value) for value in settings]
    return "BN" if settings == "SyncBN" else settings


def randomised(network: nn.Module) -> nn.Module:
    """Weights of the size that keeps a layer's output as large as its input, scales about 1, other statistics too."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        drawn = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            drawn = 0.5 + drawn.abs()
        elif tensor.ndim == 1:
            drawn = 0.3 * drawn + name.endswith("weight")
        else:
            drawn *= 1.2 / tensor[0].numel() ** 0.5
        tensor.copy_(drawn)
    return network.eval()


def opened(network: nn.Module) -> OpenedForeign:
    """What segbench makes of the network's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.pth"
        torch.save({"meta": {"mmseg_version": "1.2.2"}, "state_dict": network.state_dict()}, path)
        return open_foreign(path)


@torch.inference_mode()
def difference(network: Any, ours: OpenedForeign, size: tuple[int, int]) -> float:
    """Largest difference of the logits of one random image, over the largest logit."""
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    expected: Tensor = network.encode_decode(images, [{"ori_shape": size, "img_shape": size}])
    answer = ours.segmentor.resize(ours.segmentor(images).logits, size)
    return float((answer - expected).abs().max() / expected.abs().max())


def written_back(network: nn.Module, ours: OpenedForeign) -> bool:
    """Whether segbench writes the very tensors that it read."""
    found = families.get("mmsegmentation").write(ours.segmentor.state_dict(), ours.foreign.model)
    wanted = network.state_dict()
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def main() -> None:
    print("largest difference of the logits over the largest logit; height x width of the image")
    for configuration, sizes in {**NETWORKS, **TRANSFORMERS}.items():
        network = published_network(configuration)
        ours = opened(network)
        parameters = sum(p.numel() for p in network.parameters())
        same = ", same file back" if written_back(network, ours) else ""
        found = "  ".join(f"{size[0]}x{size[1]} {difference(network, ours, size):.1e}" for size in sizes)
        print(f"{configuration.partition('/')[2]:52s} {parameters:11,d} parameters  {found}{same}", flush=True)


if __name__ == "__main__":
    main()
