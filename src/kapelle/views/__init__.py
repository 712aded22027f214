"""Views: what is said of runs and plans wherever they are shown: JSON shapes, and the commands to go on from there."""

from .commands import answer_commands as answer_commands
from .commands import next_command as next_command
from .commands import reading_command as reading_command
from .json_shapes import joint_to_json as joint_to_json
from .json_shapes import proposal_to_json as proposal_to_json
from .json_shapes import run_in_parts as run_in_parts
from .json_shapes import run_to_json as run_to_json
from .json_shapes import task_to_json as task_to_json
