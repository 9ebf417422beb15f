"""Settings of accuracy in service: when engines are measured again, on what, and what counts as lost."""

from __future__ import annotations

from gistline.settings_base import Section, knob


class AccuracySettings(Section):
    """Measuring the serving engines again (docs/accuracy.md)."""

    every_h: float = knob(
        24.0, "Pause between two reviews of an engine; the first comes so long after its passport; 0 never.", unit="h",
        ge=0, le=2_160,
    )  # fmt: skip
    max_s: float = knob(600.0, "What is not measured within this waits for the next review.", unit="s", ge=1, le=7_200)
    nice: int = knob(
        10, "How far a report worker's review yields to other work of its machine; 19 all but stops on a busy one.",
        unit="Unix niceness", ge=0, le=19,
    )  # fmt: skip
    frames: int = knob(64, "Recent frames on which INT8 is held against FP32.", unit="frames", ge=8, le=2_000)
    window_frames: int = knob(
        20_000, "Newest frames of all cameras whose findings are compared.", unit="frames", ge=200, le=200_000
    )
    camera_frames: int = knob(1_000, "Of which so many of one camera.", unit="frames", ge=20, le=20_000)
    camera_images: int = knob(
        100, "Kept frames of one camera whose light and sharpness are measured.", unit="frames", ge=10, le=2_000
    )
    least_frames: int = knob(
        200, "Fewer frames of a camera say nothing about its findings.", unit="frames", ge=20, le=10_000
    )
    least_images: int = knob(40, "Fewer kept frames say nothing about its images.", unit="frames", ge=10, le=2_000)
    least_judged: int = knob(30, "Fewer opinions or findings say nothing.", unit="findings", ge=5, le=100_000)
    feedback_days: int = knob(30, "Operators' opinions of so many days are counted.", unit="days", ge=1, le=3_650)
    max_lost: float = knob(
        1.0, "mAP50-95 that an engine may lose against its passport.", unit="points of 100", ge=0, le=100
    )
    least_agreement: float = knob(0.85, "Share of findings on which INT8 and FP32 must agree.", ge=0, le=1)
    least_precision: float = knob(0.8, "Share of judged findings that must be correct.", ge=0, le=1)
    max_psi: float = knob(
        0.2, "Population stability index above which a camera has drifted; small samples need more.", ge=0.05, le=10
    )
    keep_days: int = knob(730, "Reviews are deleted after this.", unit="days", ge=1, le=14_600)
