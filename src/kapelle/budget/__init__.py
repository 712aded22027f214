"""Budget: money and tokens held within limits, reserved before dispatch and committed after."""

from .budget import Amounts as Amounts
from .budget import Budget as Budget
from .budget import BudgetStatistics as BudgetStatistics
from .budget import Reservation as Reservation
