"""What routing would have saved, told from a log of the user's own outcomes before anything is switched on.

`read_log` reads it, `savings_report` judges it, `format_report` and `draw_curve` show it. Learns and judges on
different rows always. NumPy is loaded only when figures are made.
"""

from typing import TYPE_CHECKING

from .columns import ColumnNames as ColumnNames
from .columns import Scale as Scale
from .log import MAX_LEDGER_ROWS as MAX_LEDGER_ROWS
from .log import Log as Log
from .log import RowProblem as RowProblem
from .log import log_of_outcomes as log_of_outcomes
from .log import log_of_tasks as log_of_tasks
from .picture import write_plot as write_plot
from .plot import draw_curve as draw_curve
from .reading import read_log as read_log
from .report import Interval as Interval
from .report import Judged as Judged
from .report import SavingsReport as SavingsReport
from .report import Target as Target
from .report import Today as Today
from .savings import run_savings as run_savings
from .savings import sample_tasks as sample_tasks
from .savings import savings_report as savings_report
from .savings import settle_policy as settle_policy
from .text import format_report as format_report

if TYPE_CHECKING:
    from .learned_policy import LearnedPolicy as LearnedPolicy
    from .policy import RoutingPolicy as RoutingPolicy
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "learned_policy": "LearnedPolicy",
            "policy": "RoutingPolicy",
        },
    )
