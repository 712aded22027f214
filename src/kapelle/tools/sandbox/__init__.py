"""Where work runs that nobody has read: programs without a machine, commands within walls of the kernel."""

from .commands import CommandLimits as CommandLimits
from .commands import CommandResult as CommandResult
from .programs import SandboxLimits as SandboxLimits
from .programs import SandboxResult as SandboxResult
from .sandbox import Sandbox as Sandbox
from .walls import ALLOWED_UNPROTECTED as ALLOWED_UNPROTECTED
from .walls import Walls as Walls
from .walls import find_walls as find_walls
