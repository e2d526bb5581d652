"""Fast Fourier convolutions: from the first layer on every position sees the whole picture.

Chi, Jiang & Mu, "Fast Fourier Convolution" (NeurIPS 2020), section 3; in the form that Suvorov et al., "Resolution-
robust Large Mask Inpainting with Fourier Convolutions" (WACV 2022), section 2.1 use, without the local Fourier unit.
"""

import torch
from torch import Tensor, nn


class Spectral(nn.Module):
    """N x C x H x W: 1 x 1 convolutions before, in and after the Fourier transform; any height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.before = nn.Sequential(nn.Conv2d(channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU())
        self.within = nn.Sequential(nn.Conv2d(2 * half, 2 * half, 1, bias=False), nn.BatchNorm2d(2 * half), nn.ReLU())
        self.after = nn.Conv2d(half, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft2(x.float(), norm="ortho")
            parts = self.within(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
            waves = torch.fft.irfft2(torch.complex(*parts), s=x.shape[2:], norm="ortho")
        found: Tensor = self.after(x + waves.to(x.dtype))
        return found


class FourierConv(nn.Module):
    """Two groups of channels, a local and a global one, each made of both; normalised, ReLU."""

    def __init__(self, local: int, wide: int) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate", bias=False)

        self.local_local, self.local_wide, self.wide_local = conv(local, local), conv(local, wide), conv(wide, local)
        self.wide_wide = Spectral(wide)
        self.norm_local, self.norm_wide = nn.BatchNorm2d(local), nn.BatchNorm2d(wide)

    def forward(self, local: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
        near = self.norm_local(self.local_local(local) + self.wide_local(wide))
        far = self.norm_wide(self.local_wide(local) + self.wide_wide(wide))
        return near.relu(), far.relu()


class FourierBlock(nn.Module):
    """N x C x H x W: two Fourier convolutions, the input added; the first channels are the local ones."""

    def __init__(self, channels: int, share: float = 0.75) -> None:
        super().__init__()
        wide = round(share * channels)
        self.split = [channels - wide, wide]
        self.first, self.second = FourierConv(*self.split), FourierConv(*self.split)

    def forward(self, x: Tensor) -> Tensor:
        local, wide = torch.split_with_sizes(x, self.split, 1)
        return x + torch.cat(self.second(*self.first(local, wide)), 1)
