"""Settings of frames: what may come in, where its bytes live, how long bytes and rows stay."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self

from pydantic import SecretStr, model_validator

from gistline.settings_base import Section, knob

MOST_PARTITIONS: Final = 40


class Keep(StrEnum):
    """Whose bytes outlive the inspection."""

    ALL = "all"
    FINDINGS = "findings"
    NOTHING = "nothing"


class FrameSettings(Section):
    """What may come in, and where its bytes live."""

    store_url: str = knob("", "Where frame bytes live (file:///folder, s3://bucket/prefix); empty is a local folder.")
    fsync: bool = knob(
        True, "Accept a frame only once its bytes survive a power cut; off is faster and loses the last seconds then."
    )
    s3_endpoint: str = knob("", "Address of an S3 server that is not Amazon's, such as http://minio:9000.")
    s3_region: str = knob("us-east-1", "Region of the bucket.")
    s3_access_key_id: SecretStr = knob(SecretStr(""), "Key id for S3; empty takes the machine's own AWS credentials.")
    s3_secret_access_key: SecretStr = knob(SecretStr(""), "Secret that belongs to the key id.")
    max_bytes: int = knob(20_000_000, "Largest image accepted.", unit="bytes", ge=1_000, le=500_000_000)
    max_side: int = knob(12_000, "Longest side accepted.", unit="pixels", ge=64, le=65_535)
    max_pixels: int = knob(50_000_000, "Most pixels accepted.", unit="pixels", ge=4_096, le=500_000_000)
    min_side: int = knob(16, "Shortest side accepted.", unit="pixels", ge=1, le=1_024)
    keep: Keep = knob(Keep.FINDINGS, "Whose bytes are kept after inspection: all, findings (NG, re-inspect), nothing.")
    keep_days: int = knob(30, "Kept bytes are deleted after this.", unit="days", ge=1, le=3_650)
    keep_rows_days: int = knob(
        365,
        "Frames, findings and verdicts are dropped after this, a partition at a time; 0 never.",
        unit="days",
        ge=0,
        le=14_600,
    )
    keep_keys_days: int = knob(30, "A frame_key names the same frame for this long.", unit="days", ge=1, le=3_650)
    partition_days: int = knob(28, "Length of a partition of the tables that grow.", unit="days", ge=1, le=366)
    deadline_s: int = knob(
        0, "A frame not inspected this long after it was accepted expires; 0 never.", unit="s", ge=0, le=604_800
    )

    @model_validator(mode="after")
    def _rows_outlive_what_hangs_on_them(self) -> Self:
        longest = max(self.keep_days, self.keep_keys_days)
        if 0 < self.keep_rows_days < longest:
            raise ValueError(
                f"keep_rows_days = {self.keep_rows_days} is less than keep_days or keep_keys_days; give {longest} or "
                "more, 0 for never, or lower those"
            )
        if self.keep_rows_days > MOST_PARTITIONS * self.partition_days:
            raise ValueError(
                f"keep_rows_days = {self.keep_rows_days} in partitions of partition_days = {self.partition_days} makes "
                f"more than {MOST_PARTITIONS}, and every claim looks into each; raise partition_days"
            )
        return self
