"""Every node of the pack, by name."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .augment import ControlNetStyleAugment
from .captions import AutoTag, PruneTags
from .dataset import LoadDataset
from .kohya import LoadKohyaConfig, SaveKohyaConfig
from .recipe import (
    BlockDetails,
    BucketDetails,
    CaptionDetails,
    MakeRecipe,
    NetworkDetails,
    NoiseDetails,
    OptimizerDetails,
    SavingDetails,
)
from .resize import ResizeLoRA
from .run import LoadRun
from .save import SaveLoRA
from .sweep import EpochSweep
from .train import TrainLoRA
from .views import CropViews

NODES: tuple[type[io.ComfyNode], ...] = (
    LoadDataset,
    AutoTag,
    PruneTags,
    CropViews,
    ControlNetStyleAugment,
    MakeRecipe,
    NetworkDetails,
    OptimizerDetails,
    NoiseDetails,
    CaptionDetails,
    BucketDetails,
    BlockDetails,
    SavingDetails,
    LoadKohyaConfig,
    SaveKohyaConfig,
    TrainLoRA,
    LoadRun,
    SaveLoRA,
    ResizeLoRA,
    EpochSweep,
)


class KilnExtension(ComfyExtension):
    """What the host asks for our nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)
