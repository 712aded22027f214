"""What routing would have saved, told from a log of the user's own outcomes before anything is switched on.

`read_log` reads it, `savings_report` judges it, `format_report` and `draw_curve` show it. Learns and judges on
different rows always. NumPy is loaded only when figures are made.
"""

from .columns import ColumnNames as ColumnNames
from .log import Log as Log
from .log import RowProblem as RowProblem
from .picture import write_plot as write_plot
from .plot import draw_curve as draw_curve
from .reading import Scale as Scale
from .reading import read_log as read_log
from .report import Interval as Interval
from .report import Judged as Judged
from .report import SavingsReport as SavingsReport
from .report import Target as Target
from .report import Today as Today
from .savings import run_savings as run_savings
from .savings import savings_report as savings_report
from .text import format_report as format_report
