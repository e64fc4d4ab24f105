"""Every node of the pack, by name."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .augment import ControlNetStyleAugment
from .captions import AlignTags, AutoTag, EditTags, PruneTags
from .combine import BalanceRepeats, MergeDatasets, OwnSettings
from .dataset import LoadDataset, SaveDataset
from .exchange import DatasetToImages, ImagesToDataset
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
from .regularize import RegularizationSet
from .report import DatasetReport
from .resize import ResizeLoRA
from .resizing import ReplaceImages, SmallImages
from .routes import add_routes
from .run import LoadRun
from .save import SaveLoRA
from .select import RemoveDuplicates, SelectImages
from .sweep import EpochSweep
from .train import TrainLoRA
from .views import CropViews, PickFigureModels, SplitFigures

NODES: tuple[type[io.ComfyNode], ...] = (
    LoadDataset,
    ImagesToDataset,
    DatasetToImages,
    MergeDatasets,
    BalanceRepeats,
    OwnSettings,
    SaveDataset,
    AutoTag,
    PruneTags,
    AlignTags,
    EditTags,
    SplitFigures,
    CropViews,
    PickFigureModels,
    RemoveDuplicates,
    SelectImages,
    DatasetReport,
    SmallImages,
    ReplaceImages,
    ControlNetStyleAugment,
    RegularizationSet,
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
        # Older hosts have no on_load; this is asked once, before the server starts.
        add_routes()
        return list(NODES)
