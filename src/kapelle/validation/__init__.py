"""Validation: proves a plan before a cent is spent. The only place where an ApprovedPlan is made.

`validate_draft` checks tasks that are no graph yet, `AOPValidator` a routed plan; both come with a repair. Read
`validator` first, then `checks` and `content`.
"""

from typing import TYPE_CHECKING

from .approved import ApprovedPlan as ApprovedPlan
from .approved import ValidationResult as ValidationResult
from .detector import Detection as Detection
from .detector import ModelDetector as ModelDetector
from .detector import PlanDetector as PlanDetector
from .edit import Edit as Edit
from .issue import Issue as Issue
from .issue import IssueKind as IssueKind
from .issue import Severity as Severity
from .repair import Repair as Repair
from .solvability import NextBest as NextBest
from .solvability import avoid_hopeless as avoid_hopeless
from .validator import AOPValidator as AOPValidator

if TYPE_CHECKING:
    from .draft import DraftRepair as DraftRepair
    from .draft import PlanDraft as PlanDraft
    from .draft import mend_draft as mend_draft
    from .draft import repair_draft as repair_draft
    from .draft import validate_draft as validate_draft
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "draft": "DraftRepair PlanDraft mend_draft repair_draft validate_draft",
        },
    )
