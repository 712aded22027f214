"""Validation: proves a plan before a cent is spent. The only place where an ApprovedPlan is made."""

from .approved import ApprovedPlan as ApprovedPlan
from .draft import DraftRepair as DraftRepair
from .draft import PlanDraft as PlanDraft
from .draft import repair_draft as repair_draft
from .draft import validate_draft as validate_draft
from .edit import Edit as Edit
from .issue import Issue as Issue
from .issue import IssueKind as IssueKind
from .issue import Severity as Severity
from .reward_model import LearnedRewardModel as LearnedRewardModel
from .reward_model import TaskOutcome as TaskOutcome
from .schemas import ToolSignature as ToolSignature
from .validator import AOPValidator as AOPValidator
from .validator import ValidationResult as ValidationResult
