"""Other words by which people look for a node: those of other trainers, packs and languages."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

ALIASES: Mapping[str, tuple[str, ...]] = {
    "KilnLoadDataset": ("load images folder", "training images", "kohya folder", "加载训练集"),
    "KilnImagesToDataset": ("image batch to dataset", "make dataset", "图像转训练集"),
    "KilnDatasetToImages": ("dataset to image list", "unpack dataset", "训练集转图像"),
    "KilnMergeDatasets": ("join datasets", "combine datasets", "concatenate", "合并训练集"),
    "KilnBalanceRepeats": ("num_repeats", "repeats", "weights of folders", "重复次数"),
    "KilnOwnSettings": (
        "subset settings",
        "multi resolution",
        "per folder settings",
        "keep tokens",
        "子集设置",
        "多分辨率",
    ),
    "KilnSaveDataset": ("export dataset", "write captions", "metadata.jsonl", "导出训练集"),
    "KilnAutoTag": ("tagger", "wd14", "interrogate", "caption", "booru tags", "打标", "反推"),
    "KilnPruneTags": ("trigger word", "remove tags", "caption cleanup", "触发词", "删标签"),
    "KilnAlignTags": ("unify tags", "outfit tags", "统一标签"),
    "KilnEditTags": ("tag editor", "search and replace tags", "caption editor", "标签编辑"),
    "KilnSplitFigures": ("turnaround", "character sheet", "split characters", "三视图", "拆分"),
    "KilnCropViews": ("crop", "face crop", "portrait", "upper body", "裁切", "裁剪"),
    "KilnFigureModels": ("detector", "yolo", "person detection", "remove background", "检测", "抠图"),
    "KilnRemoveDuplicates": ("dedupe", "similar images", "phash", "去重"),
    "KilnSelectImages": ("filter dataset", "cherry-pick", "pick images", "筛选", "挑图"),
    "KilnDatasetReport": ("contact sheet", "bucket report", "tag statistics", "数据集统计"),
    "KilnSmallImages": ("low resolution", "upscale dataset", "小图"),
    "KilnReplaceImages": ("replace dataset images", "upscaled", "换图"),
    "KilnControlNetStyleAugment": ("augmentation", "img2img", "style transfer dataset", "风格增强", "数据增强"),
    "KilnRegularizationSet": ("reg images", "class images", "prior preservation", "正则化", "正则图"),
    "KilnRecipe": ("training settings", "hyperparameters", "preset", "训练参数"),
    "KilnRecipeNetwork": ("DoRA", "dropout", "LoKr", "网络参数"),
    "KilnRecipeOptimizer": ("weight decay", "gradient accumulation", "EMA", "LoRA+", "优化器"),
    "KilnRecipeNoise": ("noise offset", "pyramid noise", "huber", "timesteps", "噪声", "损失"),
    "KilnRecipeCaptions": ("keep tokens", "shuffle caption", "wildcard", "打乱标签"),
    "KilnRecipeBuckets": ("aspect ratio buckets", "flip_aug", "random crop", "分桶"),
    "KilnRecipeBlocks": ("block weights", "LBW", "block dims", "分层"),
    "KilnRecipeSaving": ("save every n epochs", "sample prompts", "validation", "保存间隔"),
    "KilnLoadKohyaConfig": ("kohya_ss", "sd-scripts", "import config", "导入配置"),
    "KilnSaveKohyaConfig": ("kohya_ss", "sd-scripts", "export config", "导出配置"),
    "KilnTrainLoRA": ("trainer", "fine-tune", "finetune", "LyCORIS", "LoHa", "炼丹", "训练"),
    "KilnLoadRun": ("load training", "resume", "checkpoint of training", "训练记录"),
    "KilnSaveLoRA": ("export lora", "safetensors", "保存模型"),
    "KilnResizeLoRA": ("shrink lora", "reduce rank", "svd", "压缩"),
    "KilnEpochSweep": ("xyz plot", "compare epochs", "grid", "best epoch", "对比图", "选模型"),
}


def search_words(node_id: str) -> dict[str, Any]:
    """A schema's `search_aliases`, where the host has them; older ones do not know the word."""
    known = "search_aliases" in inspect.signature(io.Schema).parameters
    return {"search_aliases": list(ALIASES[node_id])} if known else {}
