"""The groups of a recipe that say what the model is asked: how an image is hidden, and what an error counts for."""

from __future__ import annotations

from dataclasses import dataclass

from ..dataset.settings import check_settings, setting

LOSSES = ("l2", "huber", "smooth_l1", "l1")
HUBER_SCHEDULES = ("snr", "exponential", "constant")
TIMESTEPS = ("uniform", "logit_normal", "mode")
PREDICTIONS = ("any", "epsilon", "v", "flow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise that an image is shown under."""

    noise_offset: float = setting(
        0.0, "A little noise that is equal all over a channel, 0.03 to 0.1: darker darks.", low=0, high=1, step=0.01
    )
    noise_offset_random_strength: bool = setting(
        False, "noise_offset is the most; how much of it is drawn anew for each image.", detail=True
    )
    adaptive_noise_scale: float = setting(
        0.0, "Adds this times the latent's mean to noise_offset.", low=-1, high=1, step=0.01, detail=True
    )
    multires_noise_iterations: int = setting(
        0, "Pyramid noise: how many coarser noises are added; 6 to 10, 0 is off.", low=0, high=64, step=1, detail=True
    )
    multires_noise_discount: float = setting(
        0.3, "How much weaker each coarser noise is.", low=0.01, high=1, step=0.01, detail=True
    )
    ip_noise_gamma: float = setting(
        0.0, "Input perturbation: more noise on what the network sees, not on its target; 0.05 to 0.1.",
        low=0, high=1, step=0.01, detail=True,
    )  # fmt: skip
    ip_noise_gamma_random_strength: bool = setting(
        False, "ip_noise_gamma is the most; how much of it is drawn anew for each image.", detail=True
    )
    min_timestep: int = setting(0, "Least noise trained on, of 1000 steps.", low=0, high=999, step=1, detail=True)
    max_timestep: int = setting(1000, "Most noise trained on, of 1000 steps.", low=1, high=1000, step=1, detail=True)
    timestep_sampling: str = setting(
        "uniform", "How noise levels are drawn; logit_normal and mode are for flow models.",
        choices=TIMESTEPS, detail=True,
    )  # fmt: skip
    logit_mean: float = setting(0.0, "Mean of logit_normal.", low=-10, high=10, step=0.1, detail=True)
    logit_std: float = setting(1.0, "Deviation of logit_normal.", low=0.01, high=10, step=0.1, detail=True)
    mode_scale: float = setting(1.29, "Scale of mode.", low=-1, high=2, step=0.01, detail=True)
    flow_shift: float = setting(
        0.0, "Shift of a flow model's noise levels; 0 takes the model's own, 1 is none.",
        low=0, high=100, step=0.1, detail=True,
    )  # fmt: skip
    expected_prediction: str = setting(
        "any", "What the model must predict; any other is an error before training.", choices=PREDICTIONS, detail=True
    )
    zero_terminal_snr: bool = setting(
        False, "The model's noise must end in nothing but noise; any other is an error before training.", detail=True
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.min_timestep >= self.max_timestep:
            raise ValueError(
                f"Noise.min_timestep is {self.min_timestep} and max_timestep {self.max_timestep}; "
                "the first must be less"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the error counts for."""

    min_snr_gamma: float = setting(0.0, "Min-SNR weighting's gamma, usually 5; 0 is off.", low=0, high=100, step=0.5)
    debiased_estimation: bool = setting(
        False, "Debiased estimation: noisy steps, where the picture is laid out, count more."
    )
    prior_loss_weight: float = setting(1.0, "Weight of regularisation images.", low=0, high=10, step=0.05)
    prior_preservation: bool = setting(
        False, "Regularisation images teach the model's own answers without the LoRA, not their pictures.", detail=True
    )
    scale_v_pred_loss: bool = setting(False, "Weighs a v model's loss as a noise model's.", detail=True)
    loss_type: str = setting(
        "l2", "Form of the error; huber and smooth_l1 forgive outliers.", choices=LOSSES, detail=True
    )
    huber_c: float = setting(0.1, "Where huber and smooth_l1 turn linear.", low=1e-4, high=100, step=0.01, detail=True)
    huber_schedule: str = setting("snr", "How huber_c changes with the noise.", choices=HUBER_SCHEDULES, detail=True)
    masked_loss: bool = setting(False, "Only what an image's mask, or its own alpha, shows counts.", detail=True)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.debiased_estimation and self.min_snr_gamma:
            raise ValueError(
                f"Loss.debiased_estimation is on and min_snr_gamma is {self.min_snr_gamma}; both weigh by SNR, use one"
            )
