"""MicarVLMoE's whole network (Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from methods.micar_vlmoe.config import MicarConfig
from methods.micar_vlmoe.decoder import Decoder, EncoderBlock
from methods.micar_vlmoe.vision import ImageTokens, VisionEncoder


class MicarNetwork(nn.Module):
    """Vision encoder, latent encoder, latent mixture-of-experts decoder (Fig. 1)."""

    def __init__(self, vocabulary: int, config: MicarConfig, views: int) -> None:
        super().__init__()
        self.vision = VisionEncoder(config, views)
        self.tokens = ImageTokens(config, self.vision.width, views)
        blocks = config.layers if config.latent_encoder else 0
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(blocks))
        self.decoder = Decoder(vocabulary, config)
        for part in (self.tokens, self.encoder, self.decoder):
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)

    def encode(self, trunk: Sequence[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        """Output of ``vision.trunk`` and bool (B, N) to image tokens (B, T, E) and their mask (B, T)."""
        x, mask = self.tokens(self.vision(trunk, present), present)
        for block in self.encoder:
            x = block(x, mask)
        return x, mask
