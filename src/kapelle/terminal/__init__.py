"""What a person sees in a terminal: live progress, a finished run, a plan, lists. Reads values; decides nothing.

Requests, plans and what agents return are not ours: every text goes through `printable`, so that none steers the
terminal. A narrow terminal is shown fewer columns rather than broken ones.
"""

from .history import show_history as show_history
from .history import tell_history as tell_history
from .joint import show_joint as show_joint
from .lists import show_agents as show_agents
from .lists import show_questions as show_questions
from .lists import show_runs as show_runs
from .live import LiveProgress as LiveProgress
from .plan import picture as picture
from .plan import show_frontier as show_frontier
from .plan import show_proposal as show_proposal
from .run import show_answer as show_answer
from .run import show_memory as show_memory
from .run import show_run as show_run
from .run import show_understood as show_understood
