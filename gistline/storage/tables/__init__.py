"""All tables, typed. Postgres only: the queue leans on SKIP LOCKED, partial indexes and RETURNING.

Names of constraints come from a convention, so that migrations can name them. States are text with a check constraint
made from the enum: adding one is then a plain migration.
"""

from gistline.storage.tables.access import ApiKey, AuditRow, PersonRow, ProgramRow, SessionRow, SignInAttempt
from gistline.storage.tables.accuracy import AccuracyReviewRow, DriftReferenceRow
from gistline.storage.tables.acting import (
    AlarmDeliveryRow,
    AlarmInboxRow,
    AlarmRow,
    AlarmRuleRow,
    AlarmStateRow,
    GateChannelRow,
    GateVerdictRow,
)
from gistline.storage.tables.base import (
    AttemptState,
    Base,
    BatchState,
    Processing,
    ServingAction,
    WaitsFor,
    WindowState,
)
from gistline.storage.tables.budgets import BudgetHold, BudgetPeriodRow, BudgetRow, BuyingStop
from gistline.storage.tables.feedback import FeedbackRow
from gistline.storage.tables.inspection import Camera, EngineRow, FindingRow, FrameKey, FrameRow, VerdictRow
from gistline.storage.tables.queue import BatchRow, DeadLetterRow, DrainRow, RetiredPartition, SubmissionRow
from gistline.storage.tables.reporting import LlmAttempt, LlmBatch, PriceUsed, ReportFinding, ReportRow, ReportWindow
from gistline.storage.tables.serving import ModelRow, PassportRow, ServingRow, WorkerHeartbeat
from gistline.storage.tables.tokens import TokenCount, TokenDrift, TokenSample

__all__ = [
    "AccuracyReviewRow",
    "AlarmDeliveryRow",
    "AlarmInboxRow",
    "AlarmRow",
    "AlarmRuleRow",
    "AlarmStateRow",
    "ApiKey",
    "AttemptState",
    "AuditRow",
    "Base",
    "BatchRow",
    "BatchState",
    "BudgetHold",
    "BudgetPeriodRow",
    "BudgetRow",
    "BuyingStop",
    "Camera",
    "DeadLetterRow",
    "DrainRow",
    "DriftReferenceRow",
    "EngineRow",
    "FeedbackRow",
    "FindingRow",
    "FrameKey",
    "FrameRow",
    "GateChannelRow",
    "GateVerdictRow",
    "LlmAttempt",
    "LlmBatch",
    "ModelRow",
    "PassportRow",
    "PersonRow",
    "PriceUsed",
    "Processing",
    "ProgramRow",
    "ReportFinding",
    "ReportRow",
    "ReportWindow",
    "RetiredPartition",
    "ServingAction",
    "ServingRow",
    "SessionRow",
    "SignInAttempt",
    "SubmissionRow",
    "TokenCount",
    "TokenDrift",
    "TokenSample",
    "VerdictRow",
    "WaitsFor",
    "WindowState",
    "WorkerHeartbeat",
]
